"""GGUF files: de-quantised once to fp32 safetensors, with the tokenizer that the file carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hooks.checkpoints.building import build, is_no_space
from hooks.checkpoints.digests import cached_sha256
from hooks.checkpoints.quiet import quiet_transformers
from hooks.checkpoints.record import Checkpoint, Origin
from hooks.errors import InputError
from hooks.progress import Progress

_UNROUNDED = {"ALL_F32", "MOSTLY_F16", "MOSTLY_BF16"}


def fetch_gguf(path: Path, workspace: Path, progress: Progress) -> Checkpoint:
    """The model in a `*.gguf` file, converted into `workspace/models/gguf-<first 12 hex of its SHA-256>`.

    Raises InputError when the file is no GGUF file, is damaged, or holds an architecture that cannot be converted.
    """
    progress(0.0, f"reading {path.name}")
    digest = cached_sha256(path, workspace)
    # fp32 holds at most 8 times a 4-bit file; smaller formats need more, and then the disk itself complains.
    needs_mb = 8 * path.stat().st_size / 1e6

    def make(folder: Path) -> Origin:
        quantisation, licence = describe_gguf(path)
        convert_gguf(path, folder, progress)
        return Origin(path.stem, f"{path.name} sha256:{digest}", quantisation, licence)

    return build(workspace, f"gguf-{digest[:12]}", make, progress, needs_mb)


def describe_gguf(path: Path) -> tuple[str, str]:
    """(quantisation, licence) as the file states them, e.g. ("Q4_1, de-quantised", "apache-2.0")."""
    from gguf import GGUFReader, LlamaFileType

    try:
        fields = GGUFReader(path).fields
        file_type, licence = (fields.get(key) for key in ("general.file_type", "general.license"))
        kind = LlamaFileType(int(file_type.contents())).name if file_type is not None else "unknown format"
        stated = str(licence.contents()) if licence is not None else "unknown"
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise InputError(f"{path} is not a GGUF file, or is damaged: {error}") from error
    return ("none" if kind in _UNROUNDED else f"{kind.removeprefix('MOSTLY_')}, de-quantised"), stated


def convert_gguf(path: Path, folder: Path, progress: Progress) -> None:
    """Write the model and the tokenizer of a GGUF file into `folder`, weights in fp32.

    Raises InputError when transformers cannot convert it.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place: dict[str, Any] = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    place["local_files_only"] = True
    with quiet_transformers():
        try:
            progress(0.6, "reading the tokenizer")
            tokenizer = AutoTokenizer.from_pretrained(**place)
            _restore_digit_split(tokenizer, path)
            tokenizer.save_pretrained(folder)
            progress(0.7, "de-quantising the weights")
            unpacked = AutoModelForCausalLM.from_pretrained(
                **place, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
            )
        except Exception as error:
            if is_no_space(error):
                raise
            raise InputError(f"{path} cannot be converted: {type(error).__name__}: {error}") from error
        progress(0.8, "writing safetensors")
        _as_plain(unpacked).save_pretrained(folder)
    progress(0.95, "checking what was written")


def _restore_digit_split(tokenizer, path: Path) -> None:  # type: ignore[no-untyped-def]  # a fast tokenizer
    """Split digits before words where the file's `tokenizer.ggml.pre` is "smollm", which transformers passes over.

    Without it white space before a number is cut differently from how the model was trained: "\\n\\n1" in three.
    """
    from gguf import GGUFReader
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    field = GGUFReader(path).fields.get("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        words = ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), words])


def _as_plain(model):  # type: ignore[no-untyped-def]  # any transformers causal model in and out
    """The same tensors under a configuration that does not say "quantised", which transformers refuses to save."""
    import torch

    settings = model.config.to_dict()
    settings.pop("quantization_config", None)
    with torch.device("meta"):
        plain = type(model)(type(model.config).from_dict(settings))
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain
