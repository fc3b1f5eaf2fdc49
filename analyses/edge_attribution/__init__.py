"""Edge attribution: which edges between components carry the behaviour, and what circuit do the strongest make?

Nodes are the embedding, heads, MLPs and the logits; an edge leads from what one writes to the residual stream to what
another reads of it (a head's query; the key or value of a key/value head; an MLP; the logits). Each edge has a score:
the change of the metric, a goodness, when that edge alone is corrupted, estimated from gradients for all edges at once
(EAP and its integrated forms) or run edge by edge (exact patching). The strongest edges, without those that lead from
nowhere or to nowhere, are the circuit; ACDC makes one by cutting edges in turn.

Sources: Syed et al. 2023 (EAP); Hanna et al. 2024 (EAP-IG, greedy selection); Conmy et al. 2023 (ACDC); METHODS § 11.

Ours: the metric is a goodness, so an edge that helps has a negative score (papers take a loss, and positive is
important there). Keys and values are inputs of the model's own key/value heads, which several query heads share, so
edges are counted once for a group. EAP-IG's points are k/m of the way from clean to corrupted, the corrupted end
included, as published; or the middles of equal pieces, which converge faster. The activations variant interpolates one
layer's heads, one MLP or the embedding at a time and scores the edges that leave these alone, so that they sum to the
effect of patching them. ACDC's default metric is the same as the others', not the KL divergence, which is a choice.
Biases of the attention's output belong to no node. The circuit's own faithfulness is of the pairs that it was scored
on: circuit_evaluation holds pairs out. Intervals are over pairs; where one set of scores serves all (ACDC), none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from analyses._circuits.kept import KIND
from analyses._circuits.scoring import AnyMethod, Scoring
from analyses._circuits.selection import Rule
from analyses._common import checked_layers, layers_field
from analyses._contract import Analysis, Frames, Inputs
from analyses._graphs import GraphView
from analyses.edge_attribution.computing import run
from analyses.edge_attribution.figures import ablation_of, edges_of, figures, pictures
from analyses.edge_attribution.positions import refuse
from analyses.edge_attribution.tables import COLUMNS
from data.artifacts import check_name
from hooks.attribution import Points
from hooks.edges import MetricName, edge_graph
from hooks.errors import InputError
from hooks.pairs import align

if TYPE_CHECKING:
    from hooks.model import Model


class EdgeAttributionSpec(GraphView):
    """Options of edge attribution."""

    method: AnyMethod = Field(
        "eap_ig_inputs",
        description="eap: gradient of the clean run; eap_ig_inputs: mean between the prompts' embeddings; "
        "eap_ig_activations: between each layer's own outputs (steps × layers backward passes); clean_corrupted: mean "
        "of both runs; exact: each edge run; acdc: edges cut in turn",
    )
    steps: int = Field(5, ge=1, le=256, description="points of integrated gradients")
    points: Points = Field("far_end", description="far_end: as published, the corrupted prompt included; or midpoint")
    metric: MetricName = Field(
        "logit_diff", description="what edges are worth: log-probability, or minus the KL divergence from the clean run"
    )
    layers: tuple[int, ...] = layers_field("layers whose heads and MLPs are nodes; others run as they do")
    selection: Rule = Field(
        "top_n", description="strongest edges; those above the threshold; or greedily from the logits upwards"
    )
    size: int = Field(200, ge=1, le=1_000_000, description="edges chosen before pruning (top_n and greedy)")
    threshold: float = Field(
        0.05,
        allow_inf_nan=False,
        description="selection threshold: least size of a score; ACDC: τ, a cut that costs less stays",
    )
    edge_budget: int = Field(5000, ge=1, le=10_000_000, description="most edges that exact patching and ACDC will run")
    listed: int = Field(2000, ge=0, le=1_000_000, description="strongest edges in the table, beside the circuit's")
    by_position: bool = Field(
        False, description="score the strongest edges token by token, too: pairs of one length, methods by gradients"
    )
    keep_as: str | None = Field(None, min_length=1, description="name to keep the circuit and all scores under")

    @property
    def scoring(self) -> Scoring:
        """How edges are scored."""
        return Scoring(self.method, self.steps, self.points, self.threshold, self.edge_budget)

    def claims(self) -> dict[str, tuple[str, bool]]:
        """A circuit takes the place of an older one of its name."""
        return dict.fromkeys(self.keeps(), (KIND, True))


def check(model: Model, inputs: Inputs, spec: EdgeAttributionSpec) -> None:
    """Refuse bad names, layers that are not there, pairs that do not align, and more edges than the budget allows."""
    if spec.keep_as is not None:
        check_name(spec.keep_as)
    if spec.method == "eap" and spec.metric == "divergence":
        raise InputError(
            "metric divergence has no slope in the clean run, where eap takes its gradient: use eap_ig_inputs or "
            "clean_corrupted, or another metric"
        )
    spec.scoring.refuse_many(edge_graph(model.geometry, checked_layers(model, spec.layers)))
    aligned = [align(model, pair) for pair in inputs.pairs]
    if spec.by_position:
        refuse(spec.method, aligned)


def _detail(frames: Frames, spec: EdgeAttributionSpec, figure: str, node: str, _row: str) -> Any:
    return edges_of(frames, node) if figure == "circuit" else None


Example = dict[Literal["clean", "corrupted", "answer", "distractor"], str]
PAIR: Example = {
    "clean": "When John and Mary went to the store, John gave a drink to",
    "corrupted": "When John and Mary went to the store, Mary gave a drink to",
    "answer": " Mary",
    "distractor": " John",
}

ANALYSIS = Analysis(
    name="edge_attribution",
    title="Edge attribution",
    family="Circuits",
    question="Which edges between components carry the behaviour, and what circuit do the strongest make?",
    meaning="Each edge's score estimates what corrupting it alone does to the metric; the circuit is the strongest.",
    paper="Syed et al. 2023; Hanna et al. 2024 (EAP-IG); Conmy et al. 2023 (ACDC)",
    needs=("pair", "pairs"),
    spec=EdgeAttributionSpec,
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=pictures,
    detail=_detail,
    act=ablation_of,
    version=2,
    onward=("circuit_evaluation", "circuit_overlap", "circuit_agreement"),
    trial={"spec": {"size": 40, "steps": 2, "selection": "greedy"}},
    example={"pairs": [PAIR], "spec": {"size": 300}},
)
