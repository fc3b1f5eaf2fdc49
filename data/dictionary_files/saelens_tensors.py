"""Tensors of a SAELens file against its settings; older files' `log_threshold` becomes `threshold`."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from data.dictionary_files.saelens_cfg import Cfg
from hooks.errors import InputError


def named(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Those of a dictionary; a scaling factor of ones, which older files carry, does nothing and is left.

    Raises InputError naming the file and the tensors that are unknown or missing.
    """
    if "scaling_factor" in tensors and bool((tensors["scaling_factor"] == 1).all()):
        tensors.pop("scaling_factor")
    if "log_threshold" in tensors and "threshold" not in tensors:
        tensors["threshold"] = tensors.pop("log_threshold").exp()
    known = {"W_enc", "b_enc", "W_dec", "b_dec", "threshold", "b_gate", "b_mag", "r_mag", "W_skip"}
    if extra := sorted(set(tensors) - known):
        raise InputError(f"{path} has {', '.join(extra)}, which is not known here; known: {', '.join(sorted(known))}")
    if absent := sorted({"W_enc", "W_dec", "b_dec"} - set(tensors)):
        raise InputError(f"{path} has no {', '.join(absent)}")
    return tensors


def sized(tensors: dict[str, Tensor], cfg: Cfg, path: Path) -> None:
    """Raise InputError, naming the tensor, unless they are those of the architecture, in the sizes of the settings."""
    own = {"gated": {"b_gate", "b_mag", "r_mag"}, "jumprelu": {"b_enc", "threshold"}}.get(cfg.architecture, {"b_enc"})
    wanted = {"W_enc", "W_dec", "b_dec", *own, *({"W_skip"} if cfg.skips else ())}
    if wrong := sorted(wanted ^ set(tensors)):
        says = "is missing from a" if wrong[0] in wanted else "is not part of a"
        raise InputError(f"{path}: {wrong[0]} {says} {cfg.named}, which has {', '.join(sorted(wanted))}")
    shapes = {"W_enc": (cfg.d_in, cfg.d_sae), "W_dec": (cfg.d_sae, cfg.d_out)}
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise InputError(f"{path}: {name} is {tuple(tensors[name].shape)}, cfg.json says {shape}")


def fold(tensors: dict[str, Tensor], factor: float) -> None:
    """Weights that read and write activations as they are, in place of activations times a factor."""
    tensors["W_enc"] = tensors["W_enc"] * factor
    tensors["W_dec"], tensors["b_dec"] = tensors["W_dec"] / factor, tensors["b_dec"] / factor
