"""From a model's name to a loaded model: fetch its checkpoint, read it with transformers, put our attention in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hooks import attention
from hooks.checkpoints import Checkpoint, fetch
from hooks.errors import InputError, unknown
from hooks.model import DTYPES, Model, ModelIdentity
from hooks.progress import Progress, silent
from kernels._settled import settle


def load(
    spec: str, workspace: Path, *, dtype: str = "float32", device: str = "cpu", progress: Progress = silent
) -> Model:
    """Load a model.

    Args:
        spec: `smollm2-135m`, `toy:NAME`, a local folder, a GGUF file, or a hub id.
        workspace: folder for downloads and conversions.
        dtype: one of DTYPES.
        device: a torch device that exists here.

    Raises:
        InputError: unknown spec or dtype, unsupported architecture, a device that is not there, a damaged checkpoint.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    settle()
    checkpoint = fetch(spec, workspace, progress)
    progress(0.9, f"reading the weights of {checkpoint.name}")
    module, tokenizer = _read(checkpoint, dtype)
    try:
        module = module.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} is not there: {str(error).splitlines()[0]}") from error
    identity = ModelIdentity(
        name=checkpoint.name,
        spec=spec,
        source=checkpoint.source,
        revision=checkpoint.revision,
        quantisation=checkpoint.quantisation,
        dtype=dtype,
    )
    progress(1.0, f"{checkpoint.name} is ready")
    return Model(module, tokenizer, identity, checkpoint.folder)


def read_module(folder: Path, dtype: str, attention_function: str | None = None) -> Any:
    """A plain Hugging Face causal model from a checkpoint folder, on the CPU, in eval mode.

    Args:
        folder: a folder with `config.json` and safetensors.
        dtype: one of DTYPES.
        attention_function: a registered name; None leaves Hugging Face its own choice.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    chosen = {} if attention_function is None else {"attn_implementation": attention_function}
    return AutoModelForCausalLM.from_pretrained(
        str(folder),
        dtype=DTYPES[dtype],
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        **chosen,
    ).eval()


def _read(checkpoint: Checkpoint, dtype: str) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoTokenizer

    from hooks.anatomy import anatomy_of

    attention.register()
    folder = str(checkpoint.folder)
    try:
        anatomy_of(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
        module = read_module(checkpoint.folder, dtype, attention.NAME)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"the checkpoint in {folder} cannot be read: {str(error).splitlines()[0]}") from error
    return module, tokenizer
