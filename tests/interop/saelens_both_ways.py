"""SAELens itself on files written here, and what is read here of files that SAELens wrote; not part of the suite.

    python -m tests.interop.saelens_both_ways

sets up SAELens in an environment of its own (`benchmarks/peers/requirements-saelens.txt`, under `workspace/peers`),
writes a dictionary of each architecture here and loads it there, makes one of each there and reads it here, and
compares codes and reconstructions of the same random rows on both sides, computed in float32 whatever the file's
number format. The largest difference is divided by the largest reconstruction (or code). It ends with
code 1 where one is above TOLERANCE, where a latent is active on one side alone, or where weights written, loaded and
written again are not the same bits. The flat form of before version 6 is written by hand, and read on both sides.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks._peers import Peer, peer
from data.dictionary_files import read_saelens, write_saelens
from data.workspace import default_workspace
from hooks.dictionaries import Dictionary, Placed
from hooks.sites import Site

D, WIDE, LATENTS, ROWS, HEADS = 48, 64, 256, 128, 4
TOLERANCE = 2e-6
RESID, READ, WRITTEN, Z = (Site.parse(f"blocks.3.{one}") for one in
                           ("hook_resid_post", "ln2.hook_normalized", "hook_mlp_out", "attn.hook_z"))  # fmt: skip


def draw(*shape: int, seed: int) -> Tensor:
    """Numbers of size 1/√first."""
    return (
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) / (shape[0] if len(shape) > 1 else 4) ** 0.5
    )


def dictionary(architecture: str, d_out: int = D, **more: Any) -> Dictionary:
    """Random numbers in an architecture."""
    tensors = {"W_enc": draw(D, LATENTS, seed=1), "W_dec": draw(LATENTS, d_out, seed=2), "b_dec": draw(d_out, seed=3)}
    if architecture == "gated":
        tensors |= {name: draw(LATENTS, seed=4 + n) for n, name in enumerate(("b_gate", "b_mag", "r_mag"))}
    else:
        tensors["b_enc"] = draw(LATENTS, seed=7)
    if architecture == "jumprelu":
        tensors["threshold"] = draw(LATENTS, seed=8).abs()
    told = {"architecture": architecture, "k": 9 if architecture == "topk" else None}
    return Dictionary.of(tensors | more.pop("tensors", {}), told | more)


def ours() -> Iterator[tuple[str, Placed, str]]:
    """(name, dictionary, number format) of everything that is written."""
    for architecture in ("standard", "gated", "topk", "jumprelu"):
        for norm in (False, True):
            one = dictionary(architecture, layer_norm=norm)
            yield f"{architecture}{', layer_norm' * norm}", Placed(one, RESID, RESID), "float32"
    yield "topk, rescaled", Placed(dictionary("topk", rescaled=True), RESID, RESID), "float32"
    yield "standard, b_dec not subtracted", Placed(dictionary("standard", centred=False), RESID, RESID), "float32"
    yield "jumprelu, hook_z", Placed(dictionary("jumprelu"), Z, Z), "float32"
    yield "batchtopk as jumprelu, nested prefixes", Placed(
        dictionary("jumprelu", prefixes=[64, LATENTS], tensors={"threshold": torch.full((LATENTS,), 0.7)}), RESID, RESID
    ), "float32"  # fmt: skip
    yield "jumprelu", Placed(dictionary("jumprelu"), RESID, RESID), "bfloat16"
    for architecture in ("standard", "topk", "gated", "jumprelu"):
        yield f"flat form, {architecture}", Placed(dictionary(architecture), RESID, RESID), "float32"
    yield "flat form, standard, hook_z", Placed(dictionary("standard"), Z, Z), "float32"
    for architecture in ("standard", "jumprelu"):
        for skip in (False, True):
            more = {"tensors": {"W_skip": draw(WIDE, D, seed=9)}} if skip else {}
            one = dictionary(architecture, WIDE, centred=False, **more)
            yield f"{architecture} {'skip ' * skip}transcoder", Placed(one, READ, WRITTEN), "float32"


def theirs() -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """(name, architecture, settings, number format) of everything that SAELens writes."""
    site = {"hook_name": RESID.name, "model_name": "toy"}
    plain = {"d_in": D, "d_sae": LATENTS, "metadata": site}
    for architecture in ("standard", "gated", "topk", "jumprelu"):
        k = {"k": 9} if architecture == "topk" else {}
        for norm in ("none", "layer_norm"):
            yield f"{architecture}, {norm}", architecture, plain | k | {"normalize_activations": norm}, "float32"
    yield "topk, rescaled", "topk", plain | {"k": 9, "rescale_acts_by_decoder_norm": True}, "float32"
    yield "standard, b_dec not subtracted", "standard", plain | {"apply_b_dec_to_input": False}, "float32"
    at_z = plain | {"reshape_activations": "hook_z", "metadata": site | {"hook_name": Z.name}}
    yield "jumprelu, hook_z", "jumprelu", at_z, "float32"
    yield "standard", "standard", plain, "bfloat16"
    both = {"metadata": site | {"hook_name": READ.name, "hook_name_out": WRITTEN.name}, "d_out": WIDE}
    for named in ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"):
        yield named, named, plain | both | {"apply_b_dec_to_input": False}, "float32"


def compared(placed: Placed, x: Tensor, out: Path) -> tuple[float, float, float, int]:
    """(active latents a row, relative difference of codes, of reconstructions, latents active on one side alone)."""
    found, rows = load_file(out), x.flatten(1)
    codes, made = placed.dictionary.encode(rows).to_dense(), placed.dictionary.reconstruct(rows)
    alone = int(((codes > 0) != (found["codes"] > 0)).sum())
    pairs = ((codes, found["codes"]), (made, found["made"]))
    apart = [float((one - other).abs().max() / other.abs().max()) for one, other in pairs]
    return float((codes > 0).sum()) / len(rows), apart[0], apart[1], alone


def rows_at(placed_or_name: str) -> Tensor:
    """Random rows, [row head channel] at hook_z, far enough from 0 for a layer norm to matter."""
    x = 3 * torch.randn(ROWS, D, generator=torch.Generator().manual_seed(11)) + 0.5
    return x.view(ROWS, HEADS, D // HEADS) if "hook_z" in placed_or_name else x


def both_ways(saelens: Peer, folder: Path) -> Iterator[tuple[str, str, str, float, float, float, int, bool]]:
    """(direction, name, format, active, codes apart, reconstructions apart, latents alone, weights the same bits)."""
    out, given = folder / "out.safetensors", folder / "x.safetensors"

    def asked(name: str, here: Path, **more: Any) -> Tensor:
        x = rows_at(name)
        save_file({"x": x.contiguous()}, given)
        saelens.ask({"folder": str(here), "x": str(given), "out": str(out)} | more)
        return x

    for number, (name, placed, dtype) in enumerate(ours()):
        here, again = folder / f"ours-{number}", folder / f"ours-{number}-again"
        write_saelens(placed, here, dtype=dtype)
        if name.startswith("flat"):
            flattened(here)
        x, read = asked(name, here, do="load"), read_saelens(here)
        write_saelens(read, again)
        yield ("written here", name, dtype, *compared(read, x, out), identical(here, again))
    for number, (name, architecture, settings, dtype) in enumerate(theirs()):
        here, again = folder / f"theirs-{number}", folder / f"theirs-{number}-again"
        x = asked(name, here, do="make", architecture=architecture, settings=settings, seed=5, dtype=dtype)
        read = read_saelens(here)
        write_saelens(read, again)
        yield ("written there", name, dtype, *compared(read, x, out), identical(here, again))


def flattened(folder: Path) -> None:
    """Make the settings of a folder those that SAELens wrote before version 6."""
    cfg = json.loads((folder / "cfg.json").read_text())
    old = {"hook_point": cfg["metadata"]["hook_name"], "hook_point_layer": 3, "hook_point_head_index": None,
           "model_name": "toy", "d_in": D, "d_sae": LATENTS, "dtype": "torch.float32", "device": "cpu",
           "l1_coefficient": 5e-4, "lr": 3e-4, "normalize_activations": False, "context_size": 128}  # fmt: skip
    if cfg["architecture"] == "topk":
        old |= {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": cfg["k"]}}
    else:
        old["architecture"] = cfg["architecture"]
    (folder / "cfg.json").write_text(json.dumps(old))


def identical(one: Path, other: Path) -> bool:
    """Whether two folders hold the same tensors, bit for bit, in the same number formats."""
    first, second = (load_file(place / "sae_weights.safetensors") for place in (one, other))
    return set(first) == set(second) and all(
        first[name].dtype == second[name].dtype and torch.equal(first[name], second[name]) for name in first
    )


def main() -> None:
    """Compare, print a line each, and end with 1 where something is wrong."""
    wrong = 0
    print(f"{'':14}{'dictionary':42}{'format':10}{'active':>8}{'codes':>9}{'made':>9}{'alone':>7}  weights")
    with tempfile.TemporaryDirectory() as name, peer("saelens", default_workspace()) as saelens:
        for direction, told, dtype, active, codes, made, alone, same in both_ways(saelens, Path(name)):
            bad = not (max(codes, made) <= TOLERANCE and same and alone == 0 and active > 1)
            wrong += bad
            says = "same bits" if same else "DIFFER"
            numbers = f"{active:8.1f}{codes:9.1e}{made:9.1e}{alone:7d}"
            print(f"{direction:14}{told:42}{dtype:10}{numbers}  {says}{'  WRONG' * bad}")
    print(f"{wrong} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
