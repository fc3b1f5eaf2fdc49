"""Circuit evaluation: does a circuit alone do what the model does, is anything left without it, is all of it needed?

Circuits of several sizes are made from one set of scores, kept by edge_attribution or computed here on one half of the
pairs, and measured on pairs that they were not scored on. All edges outside the circuit carry the corrupted prompt's
output (resample), a mean or zero. With m the metric, C a circuit, ∅ none of the edges and M all of them:

    faithfulness   (m(C) − m(∅)) / (m(M) − m(∅))        1: the circuit alone does what the model does
    completeness   (m(M) − m(M∖C)) / (m(M) − m(∅))      1: without the circuit's edges nothing is left
    minimality     |m(C) − m(C∖v)| / |m(M) − m(∅)|      mean over nodes v drawn from C: what one node is worth

Random circuits of as many edges, each on a way from the embedding to the logits as the found ones' are, are the
control, drawn anywhere in the graph or between the nodes of the found circuit alone, which asks whether its edges are
more than its nodes. They are drawn once and measured on the same pairs, and differences are paired.

Sources: Wang et al. 2022 (faithfulness, completeness, minimality); Hanna et al. 2024 (normalised faithfulness against
size); METHODS § 11.

Ours: all three are ratios of means over pairs. Completeness and minimality follow Wang et al.'s idea, not their
search over subsets: completeness cuts the whole circuit out of the model, minimality takes out one node of a few drawn
ones. Means are over all tokens but the first of all given prompts, clean and corrupted; under mean and zero ablation
the first token keeps its own outputs, for attention is parked there (component_ablation does the same). With mean or
zero ablation m(∅) is not the corrupted prompt's metric. One pair alone is both scored and measured, which is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from analyses._circuits.kept import KIND
from analyses._common import checked_layers, layers_field
from analyses._contract import Analysis, Inputs, Spec, an_artifact
from analyses.circuit_evaluation.computing import run
from analyses.circuit_evaluation.figures import NAMES, figures
from analyses.circuit_evaluation.tables import COLUMNS
from hooks.attribution import Points
from hooks.edges import Method, MetricName
from hooks.errors import InputError
from hooks.pairs import align

if TYPE_CHECKING:
    from hooks.model import Model


class EvaluationSpec(Spec):
    """Options of circuit evaluation."""

    circuit: str | None = an_artifact(
        KIND, "a circuit that edge_attribution kept; none given scores edges on one half of the pairs"
    )
    method: Method = Field("eap_ig_inputs", description="how edges are scored where no circuit is named")
    steps: int = Field(5, ge=1, le=256, description="points of integrated gradients, where no circuit is named")
    points: Points = Field("far_end", description="where they lie, as in edge_attribution")
    layers: tuple[int, ...] = layers_field("layers whose heads and MLPs are nodes, where no circuit is named")
    metric: MetricName = Field("logit_diff", description="what is measured (and scored, where no circuit is named)")
    selection: Literal["top_n", "greedy"] = Field("top_n", description="how circuits are made from scores")
    sizes: tuple[int, ...] = Field(
        (50, 100, 200, 500, 1000, 2000), min_length=1, description="edges chosen for each circuit, before pruning"
    )
    ablations: tuple[Literal["resample", "mean", "zero"], ...] = Field(
        ("resample",), min_length=1, description="what edges outside carry: the corrupted output, a mean, or zero"
    )
    controls: tuple[Literal["anywhere", "same nodes"], ...] = Field(
        ("anywhere", "same nodes"),
        min_length=1,
        description="where random circuits' edges are drawn: anywhere, or between the nodes of the found circuit",
    )
    draws: int = Field(3, ge=1, le=100, description="random circuits of each size and control")
    nodes_out: int = Field(4, ge=0, le=200, description="nodes taken out of each circuit for minimality; 0 leaves it")
    draw_seed: int = Field(0, ge=0, description="seeds the halves, the random circuits and the nodes taken out")


def check(model: Model, inputs: Inputs, spec: EvaluationSpec) -> None:
    """Refuse sizes below 1, scores that are rounding noise, layers that are not there and pairs that do not align."""
    if min(spec.sizes) < 1:
        raise InputError(f"option sizes {min(spec.sizes)}: a circuit has at least 1 edge")
    if spec.circuit is None and spec.method == "eap" and spec.metric == "divergence":
        raise InputError(
            "metric divergence has no slope in the clean run, where eap takes its gradient: use eap_ig_inputs or "
            "clean_corrupted, or another metric"
        )
    checked_layers(model, spec.layers)
    for pair in inputs.pairs:
        align(model, pair)


ANALYSIS = Analysis(
    name="circuit_evaluation",
    title="Circuit evaluation",
    family="Circuits",
    question="Does a circuit do by itself what the model does, is anything left without it, is all of it needed?",
    meaning="Shares of the model's effect against the circuit's size, beside random circuits of as many edges.",
    paper="Wang et al. 2022; Hanna et al. 2024",
    needs=("pairs", "pair"),
    spec=EvaluationSpec,
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=lambda _spec: NAMES,
    onward=("edge_attribution", "circuit_overlap"),
    version=2,
    trial={"spec": {"sizes": [30, 100], "steps": 2, "draws": 2, "nodes_out": 2, "selection": "greedy",
                    "ablations": ["resample", "mean", "zero"]}},
    example={"set": "ioi", "limit": 4, "spec": {"sizes": [200, 1000], "draws": 1, "nodes_out": 1}},
)  # fmt: skip
