"""Circuit overlap: how much of one circuit is in another, of another task, method, model or checkpoint?

Circuits are made of the run's own pairs, one for each method (and label, and model), and kept ones may stand beside
them. Any two are compared at equal sizes over a grid, and kept ones also as they were kept: nodes and edges that both
have (Jaccard, and as a share of either), and the rank correlation of their scores. Beside each number stand what
chance gives at that size and what two halves of one task's pairs share with each other, which no other task can be
expected to exceed.

Source: Merullo et al. 2024, "Circuit Component Reuse Across Tasks in Transformer Language Models" (METHODS § 5), which
reports that about 78% of the heads in two circuits are shared; its denominator is not verified.

Ours: edges by gradients in place of path patching by hand, so circuits of any two tasks. Denominators are said: Jaccard
is both over either, a share is both over the named one. The embedding and the logits, which are in every circuit, are
not counted as nodes. Edges are chosen greedily from the logits upwards, so that circuits of one size stay nearly of one
size when dangling nodes are pruned; a few strongest edges as such often do not hang together at all. Random circuits
have as many edges and hang together in the same way, but spread over more nodes than found ones do; so nodes are also
compared with random sets of as many heads and as many MLPs. Halves share less than whole sets, because each has half of
the prompts; therefore the halves of two tasks are compared with each other too, always of different prompts. Intervals
leave out one pair at a time (the jackknife): they are for the overlap that other sets of as many pairs would give on
average. Of more prompts it would be larger, as noise makes circuits differ. Models are compared head by head only where
they have one shape, and that means something only where one was trained on from the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from analyses._circuits.kept import KIND
from analyses._circuits.scoring import Scoring
from analyses._common import checked_layers, layers_field
from analyses._contract import Analysis, Inputs, Spec, an_artifact, another_model, shown
from analyses.circuit_overlap.computing import enough, run
from analyses.circuit_overlap.figures import NAMES, figures
from analyses.circuit_overlap.sides import asked_sizes, labelled
from analyses.circuit_overlap.tables import COLUMNS
from hooks.attribution import Points
from hooks.edges import MetricName, edge_graph
from hooks.errors import InputError
from hooks.pairs import align

if TYPE_CHECKING:
    from hooks.model import Model

Method = Literal["eap", "eap_ig_inputs", "eap_ig_activations", "clean_corrupted", "exact"]
_KEPT = "a kept circuit to compare with: of another task, method or checkpoint"


class CircuitOverlapSpec(Spec):
    """Options of circuit overlap."""

    methods: tuple[Method, ...] = Field(
        ("eap_ig_inputs", "eap"),
        min_length=1,
        description="ways to score the edges for these pairs; each gives a circuit",
    )
    first: str | None = an_artifact(KIND, _KEPT)
    second: str | None = an_artifact(KIND, _KEPT)
    third: str | None = an_artifact(KIND, _KEPT)
    fourth: str | None = an_artifact(KIND, _KEPT)
    other_model: str | None = another_model("a checkpoint of the same architecture, whose circuits of these pairs too")
    by_label: bool = Field(False, description="a circuit for each label of the pairs in place of one for all")
    sizes: tuple[int, ...] = Field(
        (), description="edges chosen before pruning; none given means 50, doubled up to 3,200 (small graphs: fewer)"
    )
    selection: Literal["greedy", "top_n"] = Field(
        "greedy", description="greedily from the logits upwards, or the strongest edges; dangling nodes are pruned"
    )
    layers: tuple[int, ...] = layers_field("layers whose heads and MLPs are nodes; others run as they do")
    metric: MetricName = Field(
        "logit_diff", description="what edges are worth: log-probability, or minus the KL divergence from the clean run"
    )
    steps: int = Field(5, ge=1, le=256, description="points of integrated gradients")
    points: Points = Field("far_end", description="far_end: as published, the corrupted prompt included; or midpoint")
    edge_budget: int = Field(5000, ge=1, le=10_000_000, description="most edges that exact patching will run")
    splits: int = Field(6, ge=1, le=50, description="random splits into halves, for the ceiling")
    random_draws: int = Field(10, ge=2, le=200, description="random circuits of each size")
    draw_seed: int = Field(0, ge=0, description="seed of blocks, halves and random circuits")
    shown_first: str | None = shown(None, min_length=1, description="circuit drawn; none means the first there is")
    shown_second: str | None = shown(None, min_length=1, description="the one that it is compared with; none: the next")
    shown_size: int | None = shown(
        None, ge=1, description="size of the grid that shares, matrix and heads are drawn at"
    )

    @property
    def scoring(self) -> Scoring:
        """How edges are scored, but for the method."""
        return Scoring("eap", self.steps, self.points, 0.0, self.edge_budget)


def check(model: Model, inputs: Inputs, spec: CircuitOverlapSpec) -> None:
    """Refuse what can be seen before anything is computed."""
    if len(set(spec.methods)) < len(spec.methods):
        raise InputError(f"option methods: {', '.join(spec.methods)}: name each method once")
    labelled(inputs, spec.by_label)
    enough(inputs, spec)
    graph = edge_graph(model.geometry, checked_layers(model, spec.layers))
    sizes = asked_sizes(graph, spec.sizes)
    if spec.shown_size is not None and spec.shown_size not in sizes:
        raise InputError(f"option shown_size {spec.shown_size}: valid are {', '.join(map(str, sizes))}")
    if "eap" in spec.methods and spec.metric == "divergence":
        raise InputError(
            "metric divergence has no slope in the clean run, where eap takes its gradient: use eap_ig_inputs or "
            "clean_corrupted, or another metric"
        )
    if "exact" in spec.methods:
        Scoring("exact", edge_budget=spec.edge_budget).refuse_many(graph)
    for pair in inputs.pairs:
        align(model, pair)


ANALYSIS = Analysis(
    name="circuit_overlap",
    title="Circuit overlap",
    family="Circuits",
    question="How much of one circuit is in another, of another task, method or checkpoint?",
    meaning="Each line is the share of edges or heads that two circuits of one size have in common.",
    paper="Merullo et al. 2024 (Circuit Component Reuse Across Tasks in Transformer Language Models)",
    needs=("pairs", "pair"),
    spec=CircuitOverlapSpec,
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=lambda _spec: NAMES,
    version=2,
    onward=("edge_attribution", "attention_editor"),
    trial=(
        {"set": "ioi", "limit": 4, "spec": {"steps": 2, "sizes": [8, 20], "splits": 2, "random_draws": 2}},
        {"spec": {"steps": 2, "sizes": [8, 20], "splits": 2, "random_draws": 2}},
    ),
    example={
        "set": "ioi",
        "limit": 3,
        "spec": {"methods": ["eap", "clean_corrupted"], "sizes": [200, 400], "splits": 3, "random_draws": 4},
    },
)
