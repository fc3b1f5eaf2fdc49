"""circuit-tracer's transcoder sets: `config.yaml` and one `layer_{i}.safetensors` a layer, from 0 without a gap.

Its encoder is [d_sae d_model], transposed against SAELens' and ours; the threshold is `activation_function.threshold`.
Its TopK, which later versions than 0.5 have, keeps the k largest even where they are negative, ours those above 0: they
differ where fewer than k pre-activations of a token are positive. It is read, and not written. Its JumpReLU is
z·[z > θ], ours relu(z)·[z > θ]: a θ below 0 is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from data.dictionary_files._files import in_format, in_fp32, new_folder, read_tensors, the_file, write_tensors
from hooks.dictionaries import Dictionary, Placed
from hooks.errors import InputError, reason, unknown
from hooks.sites import Site

CONFIG, THRESHOLD = "config.yaml", "activation_function.threshold"
NEEDED = ("model_name", "model_kind", "feature_input_hook", "feature_output_hook")
RECORD = {"scan", "scan_name", "repo_id", "revision", "subfolder", "feature_details", "neuronpedia_id"}
"""Keys that say where it came from: kept as a record."""
KNOWN = {*NEEDED, *RECORD, "transcoders", "activation", "k"}
KIND = "transcoder_set"
TOPK_NOTE = "its TopK keeps negative values where fewer than k are positive; here those are 0"


def read_transcoder_set(folder: Path, *, ignore: Collection[str] = ()) -> list[Placed]:
    """The transcoders of a folder, by layer; fp32, which loses nothing of float32, float16 and bfloat16.

    Raises:
        InputError: naming the file: missing, damaged, unknown keys or tensors, another kind of model, a hook that
            models here do not have, layers that are not there, files that lie elsewhere, pickles.
    """
    path = the_file(folder, CONFIG, "a circuit-tracer transcoder set")
    config = {key: value for key, value in _yaml(path).items() if key not in ignore}
    if absent := [key for key in NEEDED if not isinstance(config.get(key), str)]:
        raise InputError(f"{path} does not say {', '.join(absent)}")
    if extra := sorted(set(config) - KNOWN):
        raise InputError(
            f"{path} has {', '.join(extra)}, which is not known here, so that what it does would be lost; "
            f"where it changes no number, leave it out: --ignore {extra[0]}"
        )
    if config["model_kind"] != KIND:
        raise InputError(
            f"{path}: {unknown('model_kind', config['model_kind'], [KIND])}; cross-layer ones are not read"
        )
    if config.get("activation") not in (None, "relu", "topk"):
        raise InputError(f"{path}: {unknown('activation', config['activation'], ['relu', 'topk'])}")
    return [_transcoder(one, layer, config, path) for layer, one in enumerate(_layer_files(folder, config, path))]


def write_transcoder_set(
    placed: Sequence[Placed], folder: Path, *, model_name: str | None = None, dtype: str | None = None
) -> None:
    """A folder that circuit-tracer's `load_transcoders` takes; `transcoders` names the layers' files by full path.

    Raises:
        InputError: a set that circuit-tracer cannot express, naming what, or a folder that holds something.
    """
    ordered = sorted(placed, key=lambda one: -1 if one.reads.layer is None else one.reads.layer)
    for one in ordered:
        _expressible(one)
    _one_set(ordered)
    first = ordered[0]
    named = model_name or first.about.get("model_name") or first.model.get("name")
    if not named:
        raise InputError("circuit-tracer needs the model's name, and this dictionary does not know its model")
    config: dict[str, Any] = {
        "model_name": named, "model_kind": KIND, "feature_input_hook": _hook(first.reads),
        "feature_output_hook": _hook(first.writes),
        "transcoders": [str((folder / _file(layer)).absolute()) for layer in range(len(ordered))],
    }  # fmt: skip
    if first.dictionary.architecture == "standard":
        config["activation"] = "relu"
    config |= {"scan": folder.name, "scan_name": folder.name}  # loaders ask for one, by either name
    config |= {key: value for key, value in dict(first.about.get("config", {})).items() if key in RECORD}
    with new_folder(folder) as making:
        for layer, one in enumerate(ordered):
            tensors = in_format(_theirs(one.dictionary), dtype or str(one.about.get("dtype", "float32")))
            write_tensors(making / _file(layer), tensors)
        (making / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {type(found).__name__}, not settings")
    return found


def _layer_files(folder: Path, config: Mapping[str, Any], path: Path) -> list[Path]:
    """One a layer, from 0. A file that was listed by a path that is gone is looked for beside the config."""
    if listed := config.get("transcoders"):
        if not isinstance(listed, list):
            raise InputError(f"{path}: transcoders is {listed!r}, not a list of files")
        if far := [one for one in listed if "://" in str(one)]:
            raise InputError(f"{path}: {far[0]} lies elsewhere: fetch it, and name the file in this folder")
        found = [folder / str(one) for one in listed]
        return [one if one.exists() else the_file(folder, one.name, "the transcoder set") for one in found]
    there = {one.name for one in folder.glob("layer_*.safetensors")}
    return [the_file(folder, _file(layer), "the transcoder set") for layer in range(max(len(there), 1))]


def _transcoder(file: Path, layer: int, config: Mapping[str, Any], path: Path) -> Placed:
    stored = read_tensors(file)
    told = stored.pop("k", None)
    k = config.get("k") if told is None else int(told)
    if told is not None and config.get("k") not in (None, k):
        raise InputError(f"{file} says k = {k}, {path} says {config['k']}")
    tensors, dtype, notes = in_fp32(stored, file)
    named = {"threshold" if name == THRESHOLD else name: one for name, one in tensors.items()}
    if extra := sorted(set(named) - {"W_enc", "W_dec", "b_enc", "b_dec", "threshold", "W_skip"}):
        raise InputError(f"{file} has {', '.join(extra)}, which is not known here")
    if absent := sorted({"W_enc", "W_dec", "b_enc", "b_dec"} - set(named)):
        raise InputError(f"{file} has no {', '.join(absent)}")
    activation = config.get("activation") or ("jumprelu" if "threshold" in named else "topk" if k else "relu")
    architecture = {"relu": "standard"}.get(activation, activation)
    if (architecture == "jumprelu") != ("threshold" in named):
        raise InputError(f"{file} has {THRESHOLD}, and {path} says activation {activation!r}")
    if "threshold" in named and bool((named["threshold"] < 0).any()):
        raise InputError(f"{file}: a threshold is below 0, which lets negative latents through; not known here")
    named["W_enc"] = named["W_enc"].T.contiguous()
    notes += [TOPK_NOTE] if architecture == "topk" else []
    about = {
        "format": "circuit-tracer", "dtype": dtype, "model_name": config["model_name"], "notes": notes,
        "config": {key: config[key] for key in config if key in RECORD},
    }  # fmt: skip
    settings = {"architecture": architecture, "k": k if architecture == "topk" else None, "centred": False}
    try:
        dictionary = Dictionary.of(named, settings)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    reads, writes = (_site(config[key], layer, key, path) for key in ("feature_input_hook", "feature_output_hook"))
    return Placed(dictionary, reads, writes, {}, about)


def _site(hook: str, layer: int, key: str, path: Path) -> Site:
    try:
        return Site.parse(f"blocks.{layer}.{hook}")
    except InputError as error:
        raise InputError(f"{path}: {key}: {error}") from error


def _hook(site: Site) -> str:
    return site.name.split(".", 2)[2]


def _file(layer: int) -> str:
    return f"layer_{layer}.safetensors"


def _theirs(dictionary: Dictionary) -> dict[str, Tensor]:
    tensors = dictionary.tensors() | {"W_enc": dictionary.W_enc.T}
    if "threshold" in tensors:
        tensors[THRESHOLD] = tensors.pop("threshold")
    return tensors


def _expressible(placed: Placed) -> None:
    one = placed.dictionary
    wrong = {
        "gates": one.architecture == "gated",
        "topk (release 0.5 reads it as relu; batch_topk is kept as jumprelu)": one.architecture == "topk",
        "b_dec subtracted from the input": one.centred,
        "layer_norm": one.layer_norm, "rescaling by decoder norms": one.rescaled,
        "a threshold below 0": one.threshold is not None and bool((one.threshold < 0).any()),
        "different widths read and written": one.d_in != one.d_out,
        "sites outside the blocks": placed.reads.layer is None or placed.writes.layer != placed.reads.layer,
    }  # fmt: skip
    if found := [what for what, there in wrong.items() if there]:
        raise InputError(f"circuit-tracer has no transcoder with {found[0]} ({placed.reads.label})")


def _one_set(ordered: Sequence[Placed]) -> None:
    layers = [one.reads.layer for one in ordered]
    if not ordered or layers != list(range(len(ordered))):
        raise InputError(
            f"circuit-tracer wants one transcoder for each layer from 0 to the last; these are for layers "
            f"{', '.join(str(one) for one in layers) or 'none'}"
        )
    kinds: dict[str, list[object]] = {
        "architecture": [one.dictionary.architecture for one in ordered],
        "number of latents": [one.dictionary.d_sae for one in ordered],
        "use of a skip": [one.dictionary.W_skip is not None for one in ordered],
        "site read": [one.reads.kind for one in ordered], "site written": [one.writes.kind for one in ordered],
    }  # fmt: skip
    for what, told in kinds.items():
        if len(set(told)) > 1:
            raise InputError(f"a transcoder set has one {what}; layers here have {', '.join(str(one) for one in told)}")
