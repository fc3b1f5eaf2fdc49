"""`cfg.json` of SAELens, both forms, as one set of settings; what is not known by name is refused by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.dictionary_files._saelens_training import TRAINING
from hooks.errors import InputError, unknown

AUTOENCODERS = ("standard", "gated", "topk", "jumprelu")
TRANSCODERS = {
    "transcoder": ("standard", False), "skip_transcoder": ("standard", True),
    "jumprelu_transcoder": ("jumprelu", False), "jumprelu_skip_transcoder": ("jumprelu", True),
}  # fmt: skip
"""SAELens' architecture → ours, and whether it has a skip."""
TRAINED_ONLY = {
    "batchtopk": "SAELens writes it as jumprelu by save_inference_model",
    "matryoshka_batchtopk": "SAELens writes it as jumprelu by save_inference_model",
}
FORM = {
    "architecture", "d_in", "d_sae", "d_out", "dtype", "apply_b_dec_to_input", "normalize_activations",
    "reshape_activations", "metadata", "k", "rescale_acts_by_decoder_norm", "device",
}  # fmt: skip
"""Keys that say what the dictionary computes; the device it was on is nobody's concern here."""
RENAMED = {
    "hook_point": "hook_name", "hook_point_head_index": "hook_head_index", "activation_fn_str": "activation_fn",
    "hook_point_layer": "hook_layer",
}  # fmt: skip
FLAT_FORM = {"activation_fn", "activation_fn_kwargs"}
OFF = {"finetuning_scaling_factor", "use_error_term"}
"""Keys that would change what is computed, and are known to be off only."""
METADATA = {
    "model_name", "hook_name", "hook_layer", "hook_head_index", "hook_name_out", "hook_layer_out",
    "hook_head_index_out", "model_class_name", "model_from_pretrained_kwargs", "model_kwargs", "prepend_bos",
    "context_size", "seqpos_slice", "seqpos", "dataset_path", "dataset_trust_remote_code", "neuronpedia_id",
    "sae_lens_version", "sae_lens_training_version", "exclude_special_tokens", "hf_hook_name", "hf_hook_name_out",
}  # fmt: skip
"""Where it belongs: flat in old files, inside `metadata` in new ones."""


@dataclass(frozen=True)
class Cfg:
    """What a `cfg.json` says.

    Attributes:
        named: SAELens' name of the architecture.
        architecture: ours.
        transcodes, skips: whether it writes elsewhere than it reads, and has a linear way past the latents.
        d_in, d_sae, d_out: channels read, latents, channels written.
        k: active latents a row, of topk.
        rescaled, centred: as `Dictionary`'s.
        normalize: "none", "layer_norm" or "expected_average_only_in".
        flattened: heads are laid side by side.
        metadata: model, site and text.
        training: keys that say how it was trained.
    """

    named: str
    architecture: str
    transcodes: bool
    skips: bool
    d_in: int
    d_sae: int
    d_out: int
    k: int | None
    rescaled: bool
    centred: bool
    normalize: str
    flattened: bool
    metadata: dict[str, Any]
    training: dict[str, Any]

    def settings(self) -> dict[str, object]:
        """As `Dictionary` has them."""
        told = {key: getattr(self, key) for key in ("architecture", "k", "centred", "rescaled")}
        return told | {"layer_norm": self.normalize == "layer_norm"}


def read_cfg(found: Mapping[str, Any], path: Path, ignore: Collection[str] = ()) -> Cfg:
    """Settings of either form. Raises InputError naming the file and the key that is unknown or cannot be had here."""
    cfg = {key: value for key, value in found.items() if key not in ignore}
    cfg = cfg if "metadata" in cfg else _unflattened(cfg, path)
    kind = _kind(str(cfg["architecture"]), path) if "architecture" in cfg else None
    if on := [key for key in sorted(OFF & set(cfg)) if cfg[key]]:
        raise InputError(f"{path}: {on[0]} is on, and dictionaries here have no such thing; --ignore {on[0]} leaves it")
    if extra := sorted(set(cfg) - FORM - TRAINING - OFF):
        raise InputError(
            f"{path} has {', '.join(extra)}, which is not known here, so that what it does would be lost; "
            f"where it changes no number, leave it out: --ignore {extra[0]}"
        )
    if absent := sorted({"architecture", "d_in", "d_sae"} - set(cfg)):
        raise InputError(f"{path} does not say {', '.join(absent)}")
    named, metadata = str(cfg["architecture"]), cfg["metadata"]
    if not isinstance(metadata, dict):
        raise InputError(f"{path}: metadata is {metadata!r}, not an object")
    architecture, transcodes, skips = kind or _kind(named, path)
    centred = bool(cfg.get("apply_b_dec_to_input", not transcodes))
    if transcodes and centred:
        raise InputError(f"{path}: apply_b_dec_to_input is on, and a transcoder's b_dec is no input")
    rescaled = bool(cfg.get("rescale_acts_by_decoder_norm", False))
    if rescaled and architecture != "topk":
        raise InputError(f"{path}: rescale_acts_by_decoder_norm is for topk alone, not for {named}")
    d_in, d_sae, d_out = (_whole(cfg, key, path) for key in ("d_in", "d_sae", "d_out" if transcodes else "d_in"))
    return Cfg(
        named, architecture, transcodes, skips, d_in, d_sae, d_out,
        _whole(cfg, "k", path) if architecture == "topk" else None,
        rescaled, centred, _normalisation(cfg, transcodes, path),
        _flattened(cfg, metadata, path), dict(metadata), {key: cfg[key] for key in cfg if key in TRAINING},
    )  # fmt: skip


def nested(cfg: Cfg) -> list[int]:
    """Ends of the nested prefixes that a Matryoshka dictionary was trained with, [] for others."""
    details = cfg.metadata.get("training_architecture_details")
    widths = details.get("matryoshka_widths") if isinstance(details, dict) else None
    if not isinstance(widths, list) or not all(isinstance(one, int) and 0 < one <= cfg.d_sae for one in widths):
        return []
    return sorted({*widths, cfg.d_sae}) if widths else []


def _unflattened(found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The flat form of before version 6 as the newer one."""
    cfg = {RENAMED.get(key, key): value for key, value in found.items()}
    activation, told = cfg.pop("activation_fn", None) or "relu", cfg.pop("activation_fn_kwargs", None) or {}
    if activation not in ("relu", "topk") or set(told) - {"k"}:
        raise InputError(
            f"{path}: activation_fn {activation!r} with {told} is not known here; known: relu, topk with k"
        )
    cfg.setdefault("architecture", "standard")
    if activation == "topk" and "k" in told:
        cfg["architecture"], cfg["k"] = "topk", told["k"]
    elif "k" in told:
        cfg["k"] = told["k"]
    if isinstance(cfg.get("normalize_activations"), bool):
        cfg["normalize_activations"] = "expected_average_only_in" if cfg["normalize_activations"] else "none"
    if "hook_z" in str(cfg.get("hook_name")):
        cfg.setdefault("reshape_activations", "hook_z")
    metadata = {key: cfg.pop(key) for key in list(cfg) if key in METADATA}
    return cfg | {"metadata": metadata}


def _kind(named: str, path: Path) -> tuple[str, bool, bool]:
    if named in TRANSCODERS:
        architecture, skips = TRANSCODERS[named]
        return architecture, True, skips
    if named not in AUTOENCODERS:
        hint = f" ({TRAINED_ONLY[named]})" if named in TRAINED_ONLY else ""
        raise InputError(f"{path}: {unknown('architecture', named, (*AUTOENCODERS, *TRANSCODERS))}{hint}")
    return named, False, False


def _whole(cfg: Mapping[str, Any], key: str, path: Path) -> int:
    value = cfg.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 1:
        raise InputError(f"{path}: {key} is {value!r}; a whole number from 1 is needed")
    return int(value)


def _normalisation(cfg: Mapping[str, Any], transcodes: bool, path: Path) -> str:
    found = cfg.get("normalize_activations") or "none"
    known = ("none", "layer_norm", "expected_average_only_in")
    if found not in known:
        raise InputError(f"{path}: {unknown('normalize_activations', found, known)}")
    if transcodes and found == "layer_norm":
        raise InputError(f"{path}: a transcoder with layer_norm gives nothing back to its output; not read here")
    return str(found)


def _flattened(cfg: Mapping[str, Any], metadata: Mapping[str, Any], path: Path) -> bool:
    found = cfg.get("reshape_activations") or "none"
    if found not in ("none", "hook_z"):
        raise InputError(f"{path}: {unknown('reshape_activations', found, ('none', 'hook_z'))}")
    if metadata.get("hook_head_index") is not None or metadata.get("hook_head_index_out") is not None:
        raise InputError(f"{path}: hook_head_index is set; dictionaries of a single head are not read here")
    return bool(found == "hook_z")
