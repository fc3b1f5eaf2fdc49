"""Circuits on the default model: edge attribution beside its runs, a loop and TransformerLens; a feature graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks._edges_peer import EdgesByHooks
from benchmarks._harness import Row, at_most, compared, faster, in_turns, within
from benchmarks._memory import peak_bytes
from data.prompt_sets import generate
from hooks.attribution import path_points
from hooks.dictionaries import Dictionary, Placed
from hooks.edges import EdgeGraph, by_row, edge_graph, edge_scores, goodness, read_outputs, written
from hooks.edges.outputs import read_pairs
from hooks.edges.slopes import Slopes, add_runs, places_after, written_slopes
from hooks.load import load
from hooks.metrics import Metric
from hooks.model import Model
from hooks.pairs import AlignedPair
from hooks.replacement import Transcoders, attributed, likely, memory, prune, replaced
from hooks.sites import Site

STEPS, BATCH, DRAWN = 5, 8, 64
RUNS_LIMIT = 1.3
TOLERANCE = 2e-3
"""Largest difference of two scores, as a share of the largest one: fp32, sums in another order."""
SLOW = 3
TOKENS, LATENTS, ACTIVE, FEATURES = 30, 1152, 32, 3000
"""The graph's prompt; transcoders as large as those that the guide trains, as many active latents a token as those
have; the default of `most_features`."""
GRAPH_SECONDS, MEMORY_LIMIT = 60.0, 1.25
TEXT = (
    "The old library at the end of the street was closed for the winter, but a light was still burning in one of its "
    "windows when we walked past it that night, and somebody was reading"
)


def rows(workspace: Path) -> Iterator[Row]:
    """All rows; each compares its numbers before it times anything."""
    model = load("smollm2-135m", workspace)
    graph, pairs = edge_graph(model.geometry), _pairs(model)
    yield _beside_runs(model, graph, pairs[:BATCH])
    yield _beside_runs(model, graph, pairs[:1])
    yield _beside_loop(model, graph, pairs[:1])
    yield _beside_transformer_lens(model, graph, pairs[:1])
    yield _beside_transformer_lens(model, graph, pairs[:BATCH])
    yield from _feature_graph(model)


def _pairs(model: Model) -> list[AlignedPair]:
    """IOI pairs of one length, the commonest of those drawn."""
    drawn = generate("ioi", model, limit=DRAWN).aligned
    lengths = [len(one.clean_ids) for one in drawn]
    chosen = max(set(lengths), key=lengths.count)
    return [one for one in drawn if len(one.clean_ids) == chosen]


def _both(model: Model, pairs: list[AlignedPair]) -> tuple[Tensor, Tensor, list[Metric]]:
    clean, corrupted = (torch.tensor([getattr(one, side) for one in pairs]) for side in ("clean_ids", "corrupted_ids"))
    logits = model.logits(clean, last_only=True)[:, -1]
    metrics = [
        goodness("logit_diff", one.answer_id, one.distractor_id, row) for one, row in zip(pairs, logits, strict=True)
    ]
    return clean, corrupted, metrics


def _called(pairs: list[AlignedPair]) -> str:
    return f"{len(pairs)} IOI pair{'s' if len(pairs) > 1 else ''} of {len(pairs[0].clean_ids)} tokens"


def _apart(mine: Tensor, theirs: Tensor) -> float:
    """Largest difference, as a share of the largest number."""
    return float((mine - theirs).abs().max() / theirs.abs().max())


def _beside_runs(model: Model, graph: EdgeGraph, pairs: list[AlignedPair]) -> Row:
    """EAP-IG beside the forwards and backwards it cannot do without. The embedding's edges sum to what these give."""
    clean, corrupted, metrics = _both(model, pairs)
    metric = by_row(metrics)
    start, end = (read_outputs(model, graph, ids).embed for ids in (clean, corrupted))

    def ours() -> Tensor:
        return edge_scores(model, graph, clean, corrupted, metric, "eap_ig_inputs", steps=STEPS).scores

    def bare() -> Tensor:
        total = torch.zeros(len(pairs))
        for place in path_points(STEPS, "far_end"):
            with torch.enable_grad():
                stream = (start + place * (end - start)).requires_grad_()
                logits = model.module(inputs_embeds=stream, use_cache=False, logits_to_keep=1).logits[:, -1]
                (slope,) = torch.autograd.grad(metric(logits).sum(), stream)
            total += ((end - start) * slope).sum(dim=(1, 2)) / STEPS
        return total

    name = f"EAP-IG, {STEPS} steps, {graph.n_edges:,} edges, {_called(pairs)}"
    leaving = ours()[:, graph.edges[:, 0] == 0].sum(dim=1)
    difference = compared(name, _apart(leaving, bare()), TOLERANCE)
    medians = in_turns({"ours": ours, "peer": bare})
    note = (
        f"peer: {STEPS} × (forward + backward to the embeddings), nothing read in between; compared: the edges "
        "that leave the embedding, summed"
    )
    return within(name, medians["ours"], medians["peer"], RUNS_LIMIT, difference=difference, note=note)


def _beside_loop(model: Model, graph: EdgeGraph, pairs: list[AlignedPair]) -> Row:
    """All edges in one product of what is stored, and one after another."""
    clean, corrupted, metrics = _both(model, pairs)
    near, far = read_pairs(model, graph, clean, corrupted)
    slopes = Slopes(graph)
    add_runs(model, slopes, clean, by_row(metrics), Site(0, "resid_pre"), [near.embed], places_after(graph, 0))
    change, slope = written(model, graph, far - near), written_slopes(model, slopes)
    edges = graph.edges.tolist()

    def ours() -> Tensor:
        return graph.of_matrix(torch.einsum("bpsd,bpid->si", change, slope))

    def loop() -> Tensor:
        return torch.stack([(change[:, :, source] * slope[:, :, place]).sum() for source, place in edges])

    name = f"all {graph.n_edges:,} edge scores from stored differences, {_called(pairs)}"
    difference = compared(name, _apart(ours(), loop()), TOLERANCE)
    medians = in_turns({"ours": ours, "peer": loop}, peer=SLOW)
    note = f"peer: the same sum edge by edge, timed {SLOW} times; the runs are in neither"
    return faster(name, medians["ours"], medians["peer"], 10.0, difference, TOLERANCE, note)


def _beside_transformer_lens(model: Model, graph: EdgeGraph, pairs: list[AlignedPair]) -> Row:
    clean, corrupted, metrics = _both(model, pairs)
    metric = by_row(metrics)
    other = EdgesByHooks(model, graph)

    def ours() -> Tensor:
        return edge_scores(model, graph, clean, corrupted, metric, "eap").scores

    def peer() -> Tensor:
        return other.scores(clean, corrupted, metric)

    name = f"EAP, {graph.n_edges:,} edges, {_called(pairs)}"
    try:
        difference = compared(name, _apart(ours().sum(dim=0), peer()), TOLERANCE)
        medians = in_turns({"ours": ours, "peer": peer})
    finally:
        other.close()
    note = "peer: hooks on TransformerLens' bridge (split q, k, v and MLP inputs, per-head results), both runs included"
    return faster(name, medians["ours"], medians["peer"], 1.0, difference, TOLERANCE, note)


def _feature_graph(model: Model) -> Iterator[Row]:
    """Seconds and memory from tokens to the pruned graph, and whether its rows add up."""
    ids = model.tokens(TEXT)[:, :TOKENS]
    transcoders = Transcoders.of_placed([_random(model, layer) for layer in range(model.geometry.n_layers)], model)
    g = model.geometry
    active = len(replaced(model, ids, transcoders).features)

    def trace() -> float:
        local = replaced(model, ids, transcoders)
        logits, probabilities = likely(local.logits, 0.95, 10)
        full = attributed(local, logits, probabilities, most_features=FEATURES)
        prune(full.rows, full.targets, full.weight, full.mask("token") | full.mask("logit"), 0.8, 0.98)
        return float((full.rows.double().sum(dim=1) + full.bias - full.values).abs().max() / full.values.abs().max())

    name = f"attribution graph, {ids.shape[1]} tokens, {FEATURES:,} of {active:,} active latents"
    gap = compared(name, trace(), TOLERANCE)
    seconds = in_turns({"ours": _silent(trace)}, SLOW)["ours"]
    note = (
        f"random transcoders of {LATENTS:,} latents, {ACTIVE} active a token, in all {g.n_layers} layers; timed {SLOW} "
        f"times; edges and biases add up to each value within {gap:.2g} of the largest"
    )
    yield at_most(name, seconds, GRAPH_SECONDS, "s", note)
    told = memory(active, FEATURES, g.n_layers, ids.shape[1], g.d_model)
    peak = peak_bytes(_silent(trace))
    said = "peer: what is foretold before the run, from which a graph that is too large is refused"
    yield within(f"{name}, peak memory", peak / 2**20, told / 2**20, MEMORY_LIMIT, unit="MiB", note=said)


def _silent(work: Callable[[], float]) -> Callable[[], None]:
    """The same without an answer: a float would be taken for its own seconds."""

    def run() -> None:
        work()

    return run


def _random(model: Model, layer: int) -> Placed:
    random, d = torch.Generator().manual_seed(layer), model.geometry.d_model
    tensors = {
        "W_enc": torch.randn(d, LATENTS, generator=random) / d**0.5,
        "W_dec": torch.randn(LATENTS, d, generator=random) / LATENTS**0.5,
        "b_enc": torch.zeros(LATENTS),
        "b_dec": torch.zeros(d),
    }
    settings = {"architecture": "topk", "k": ACTIVE, "rescaled": False, "centred": False}
    made = Dictionary.of(tensors, settings)
    return Placed(made, Site(layer, "ln2_normalized"), Site(layer, "mlp_out"), model.identity.as_dict())
