"""Trace the prompt, prune, ablate what is strongest; or open a graph that was kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyses._contract import Context, Frames, Inputs
from analyses.attribution_graph.checking import checked
from analyses.attribution_graph.composing import composed
from analyses.attribution_graph.marks import marked, refuse_unwritten
from analyses.attribution_graph.standing_in import stand_ins
from analyses.attribution_graph.tables import Told, frames_of, table
from data.graph_files import KIND, contents, graph_of
from hooks.errors import InputError
from hooks.replacement import attributed, likely, memory, prune, replaced

if TYPE_CHECKING:
    from analyses.attribution_graph import AttributionGraphSpec
    from hooks.model import Model

MADE, TRACED, CHECKED = 0.3, 0.85, 0.98
"""Shares of the progress until transcoders are there, edges are computed, and ablations have run."""
MOST_BYTES = 6 * 2**30


def trace(model: Model, inputs: Inputs, spec: AttributionGraphSpec, context: Context) -> Frames:
    """Frames of the graph that is named, or of the prompt's own."""
    if spec.graph is not None:
        graph = marked(graph_of(context.use("graph")), spec)
        if spec.keep_as is not None:
            context.keep(spec.keep_as, KIND, *contents(graph))
        return frames_of(graph, Told(f"graph {spec.graph}"), spec.most_paths) | {
            "interventions": table("interventions", [])
        }
    assert inputs.prompt is not None
    ids = model.tokens(inputs.prompt)
    if ids.shape[1] < 2:
        raise InputError(f"{inputs.prompt!r} is one token: an attribution graph needs two or more")
    given = stand_ins(model, spec, context, MADE)
    local = replaced(model, ids, given.transcoders, first=1 if spec.beginning == "constant" else 0)
    needed = memory(len(local.features), spec.most_features, model.geometry.n_layers, ids.shape[1],
                    model.geometry.d_model)  # fmt: skip
    if needed > MOST_BYTES:
        raise InputError(
            f"{len(local.features):,} active latents over {ids.shape[1]} tokens need about {needed / 2**30:.1f} GiB: "
            "give a shorter prompt, or a smaller most_features"
        )
    context.progress(MADE, f"{len(local.features):,} latents are active")
    logits, probabilities = likely(local.logits, spec.target_mass, spec.most_targets)
    full = attributed(
        local, logits, probabilities, most_features=spec.most_features,
        progress=lambda share, words: context.progress(MADE + (TRACED - MADE) * share, words),
    )  # fmt: skip
    always = full.mask("token") | full.mask("logit")
    pruned = prune(full.rows, full.targets, full.weight, always, spec.node_threshold, spec.edge_threshold)
    graph = marked(composed(local, full, pruned, inputs.prompt, given, spec), spec)
    refuse_unwritten(graph, spec.ablate)
    if spec.keep_as is not None:
        context.keep(spec.keep_as, KIND, *contents(graph))
    frames = frames_of(graph, Told(f"transcoders {given.name}", needed), spec.most_paths)
    rows = checked(local, full, pruned, graph, frames, spec, lambda share, words: context.progress(
        TRACED + (CHECKED - TRACED) * share, words))  # fmt: skip
    return frames | {"interventions": table("interventions", rows)}
