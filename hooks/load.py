"""From a model's name to a loaded model: fetch its checkpoint, read it with transformers, put our attention in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hooks import attention
from hooks.checkpoints import Checkpoint, fetch
from hooks.errors import InputError, unknown
from hooks.model import DTYPES, Model, ModelIdentity
from hooks.progress import Progress, silent


def load(spec: str, workspace: Path, *, dtype: str = "float32", device: str = "cpu", progress: Progress = silent) -> Model:
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
    checkpoint = fetch(spec, workspace, progress)
    progress(0.9, f"reading the weights of {checkpoint.name}")
    module, tokenizer = _read(checkpoint, dtype)
    try:
        module = module.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} is not there: {str(error).splitlines()[0]}") from error
    identity = ModelIdentity(
        name=checkpoint.name,
        source=checkpoint.source,
        revision=checkpoint.revision,
        quantisation=checkpoint.quantisation,
        dtype=dtype,
    )
    progress(1.0, f"{checkpoint.name} is ready")
    return Model(module, tokenizer, identity)


def _read(checkpoint: Checkpoint, dtype: str) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    from hooks.anatomy import anatomy_of

    logging.disable_progress_bar()
    attention.register()
    folder = str(checkpoint.folder)
    try:
        anatomy_of(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
        module = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            attn_implementation=attention.NAME,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"the checkpoint in {folder} cannot be read: {str(error).splitlines()[0]}") from error
    return module, tokenizer
