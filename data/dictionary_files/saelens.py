"""SAELens folders: `cfg.json`, `sae_weights.safetensors`, and `sparsity.safetensors` where there is one.

Read from SAELens 6.54: both forms of `cfg.json`, every architecture that a `Dictionary` can be. Weights are read into
fp32, which loses nothing of float32, float16 and bfloat16, and written in the number format they came in.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.dictionary_files._files import (
    in_format,
    in_fp32,
    new_folder,
    read_json,
    read_tensors,
    the_file,
    write_json,
    write_tensors,
)
from data.dictionary_files.saelens_cfg import TRANSCODERS, Cfg, nested, read_cfg
from data.dictionary_files.saelens_tensors import fold, named, sized
from hooks.dictionaries import Dictionary, Placed
from hooks.errors import InputError
from hooks.sites import Site

CFG, WEIGHTS, SPARSITY, SCALER = (
    "cfg.json", "sae_weights.safetensors", "sparsity.safetensors", "activation_scaler.json",
)  # fmt: skip
VERSION = "6.54.0"
"""Of SAELens, whose form is written: readers tell the flat form by it."""
OURS = "interp_workbench"
"""Key of `metadata` under which what SAELens has no word for is written."""


def read_saelens(folder: Path, *, scale: float | None = None, ignore: Collection[str] = ()) -> Placed:
    """A dictionary from a folder.

    Args:
        folder: holds `cfg.json` and `sae_weights.safetensors`.
        scale: what activations were multiplied by in training (√d_in / their mean norm), for normalize_activations
            expected_average_only_in; taken from `activation_scaler.json` where it is there. Folded into the weights.
        ignore: keys of `cfg.json` to leave out.

    Returns:
        The dictionary at its site; `about` has the metadata, how it was trained, the file's number format, and notes
        on everything that was not kept as it was. `model` is known only for files written here.

    Raises:
        InputError: naming the file and what is wrong: missing, damaged, unknown keys, tensors or sites, pickles.
    """
    path = the_file(folder, CFG, "a SAELens dictionary")
    cfg = read_cfg(read_json(path), path, ignore)
    weights = the_file(folder, WEIGHTS, "a SAELens dictionary")
    tensors, dtype, notes = in_fp32(named(read_tensors(weights), weights), weights)
    sized(tensors, cfg, weights)
    if cfg.normalize == "expected_average_only_in":
        factor = _factor(folder, path, scale)
        fold(tensors, factor)
        dtype = dtype if factor == 1 else "float32"
        notes.append(f"activations were multiplied by {factor:g} in training; that is folded into the weights")
    elif scale is not None:
        raise InputError(f"{path} says normalize_activations {cfg.normalize!r}: a scale has no use")
    if (folder / SPARSITY).exists():
        notes.append(f"{SPARSITY} is not kept with the dictionary")
    reads, writes = _sites(cfg, path)
    ours = _ours(cfg.metadata.pop(OURS, None) or {}, path)
    settings = cfg.settings() | {"prefixes": ours.get("prefixes") or nested(cfg)}
    about = {"format": "saelens", "dtype": dtype, "metadata": cfg.metadata, "notes": notes}
    about |= {"training": cfg.training} if cfg.training else {}
    try:
        dictionary = Dictionary.of(tensors, settings)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    return Placed(dictionary, reads, writes, dict(ours.get("model", {})), about | dict(ours.get("about", {})))


def read_sparsity(folder: Path) -> Tensor | None:
    """[d_sae] log10 of the share of tokens at which each latent fires, or None. Raises InputError when damaged."""
    path = folder / SPARSITY
    if not path.exists():
        return None
    found = read_tensors(path)
    if set(found) != {"sparsity"} or found["sparsity"].ndim != 1:
        raise InputError(f"{path} must hold one row of numbers, sparsity; it has {', '.join(sorted(found))}")
    return found["sparsity"]


def write_saelens(placed: Placed, folder: Path, *, dtype: str | None = None, density: Tensor | None = None) -> None:
    """A folder that SAELens loads; the number format is the one it was read in, unless `dtype` names another.

    Args:
        placed: the dictionary.
        folder: new or empty.
        dtype: "float32", "float16", "bfloat16" or "float64".
        density: [d_sae] share of tokens at which each latent fires.

    Raises:
        InputError: a dictionary that SAELens has no architecture for, or a folder that holds something.
    """
    cfg = _cfg(placed, dtype or str(placed.about.get("dtype", "float32")))
    tensors = in_format(placed.dictionary.tensors(), str(cfg["dtype"]))
    with new_folder(folder) as making:
        write_tensors(making / WEIGHTS, tensors)
        write_json(making / CFG, cfg)
        if density is not None:
            if tuple(density.shape) != (placed.dictionary.d_sae,):
                raise InputError(f"density must be [{placed.dictionary.d_sae}], got {tuple(density.shape)}")
            write_tensors(making / SPARSITY, {"sparsity": torch.log10(density.float() + 1e-10)})


def _cfg(placed: Placed, dtype: str) -> dict[str, Any]:
    dictionary = placed.dictionary
    transcodes = placed.transcodes or dictionary.W_skip is not None or dictionary.d_in != dictionary.d_out
    architecture = _architecture(dictionary, transcodes)
    heads = placed.reads.kind in ("q", "k", "v", "rot_q", "rot_k") or (transcodes and placed.reads.kind == "z")
    if heads or placed.reads.head is not None:
        raise InputError(f"SAELens reads heads side by side at hook_z alone, not at {placed.reads.label}")
    told = {key: value for key, value in placed.about.items() if key not in ("format", "dtype", "metadata", "notes")}
    ours = {"model": placed.model, "prefixes": list(dictionary.prefixes), "about": told}
    metadata = dict(placed.about.get("metadata", {})) | {
        "hook_name": placed.reads.name, "hook_head_index": None, "sae_lens_version": VERSION, OURS: ours,
    }  # fmt: skip
    metadata["model_name"] = metadata.get("model_name") or placed.about.get("model_name") or placed.model.get("name")
    cfg: dict[str, Any] = {
        "architecture": architecture, "d_in": dictionary.d_in, "d_sae": dictionary.d_sae, "dtype": dtype,
        "device": "cpu",
        "apply_b_dec_to_input": dictionary.centred,
        "normalize_activations": "layer_norm" if dictionary.layer_norm else "none",
        "reshape_activations": "hook_z" if placed.reads.kind == "z" and not transcodes else "none",
    }  # fmt: skip
    if dictionary.architecture == "topk":
        cfg |= {"k": dictionary.k, "rescale_acts_by_decoder_norm": dictionary.rescaled}
    if transcodes:
        cfg["d_out"] = dictionary.d_out
        metadata["hook_name_out"] = placed.writes.name
    return cfg | {"metadata": dict(sorted(metadata.items()))}


def _architecture(dictionary: Dictionary, transcodes: bool) -> str:
    if not transcodes:
        return dictionary.architecture
    if dictionary.layer_norm or dictionary.centred:
        what = "layer_norm" if dictionary.layer_norm else "b_dec subtracted from the input"
        raise InputError(f"SAELens has no transcoder with {what}")
    for theirs, (architecture, skips) in TRANSCODERS.items():
        if architecture == dictionary.architecture and skips == (dictionary.W_skip is not None):
            return theirs
    raise InputError(
        f"SAELens has no {dictionary.architecture} transcoder: its transcoders are standard or jumprelu "
        "(batch_topk and matryoshka are kept as jumprelu)"
    )


def _factor(folder: Path, path: Path, scale: float | None) -> float:
    found = read_json(folder / SCALER).get("scaling_factor") if (folder / SCALER).exists() else None
    factor = scale if scale is not None else found
    if isinstance(factor, int | float) and not 0 < factor < float("inf"):
        raise InputError(f"a scale of {factor:g} cannot be: it must be above 0")
    if not isinstance(factor, int | float):
        raise InputError(
            f"{path} says normalize_activations 'expected_average_only_in', and {SCALER} with its scaling_factor is "
            "not there: give it with --scale (√d_in / mean norm of the activations; 1 for none, as SAELens does)"
        )
    return float(factor)


def _ours(found: Any, path: Path) -> dict[str, Any]:
    """What was written by us beside SAELens' own settings."""
    kinds = {"model": dict, "prefixes": list, "about": dict}
    if not isinstance(found, dict) or any(not isinstance(found.get(key, kind()), kind) for key, kind in kinds.items()):
        raise InputError(f"{path}: {OURS} is not what is written there: {', '.join(kinds)}")
    return found


def _sites(cfg: Cfg, path: Path) -> tuple[Site, Site]:
    found = []
    for key in ("hook_name", "hook_name_out") if cfg.transcodes else ("hook_name",):
        if not isinstance(name := cfg.metadata.get(key), str):
            raise InputError(f"{path} does not say at which site: metadata has no {key}")
        try:
            found.append(Site.parse(name))
        except InputError as error:
            raise InputError(f"{path}: {key}: {error}") from error
    if cfg.flattened != (found[0].kind == "z") and not cfg.transcodes:
        raise InputError(f"{path}: reshape_activations hook_z belongs to hook_z and to it alone, got {found[0].name}")
    return found[0], found[-1]
