"""Circuit agreement: do the methods that find circuits name the same nodes, and which is right about ablation?

One set of nodes, every head and MLP of the chosen layers. The truth is ablation: the clean run with one node's output,
at all positions, taken from the corrupted run. Beside it: patching the other way round (denoising), attribution
patching (AtP), EAP and EAP-IG (the scores of all edges that leave a node, summed), the sizes of those edges, direct
logit attribution, information-flow routes and, where one is kept, a feature graph (the influence of an MLP's features).
All methods are compared over the same nodes by rank, prompt by prompt; where one ranks a node far from the truth, the
node is listed, drawn with its edges, and can be ablated.

Sources: Nanda 2023 and Kramár et al. 2024 (AtP); Syed et al. 2023 (EAP); Hanna et al. 2024 (EAP-IG); Elhage et al. 2021
(direct effects); Ferrando and Voita 2024 (routes); Ameisen et al. 2025 (feature graphs); METHODS §§ 8, 11.

Ours: every score is an effect of corrupting the node on the metric, a goodness, so signs agree: below 0 the node helps.
Patching's sign is turned for that; sizes of edges, routes and feature graphs have none and are compared by size alone.
A node's EAP score is by algebra its AtP score, for the gradient at its output is the sum of those at its readers'
inputs: two engines, one number, and a check of both. Edges are those of the whole model whatever layers are compared.
Routes are read with every part kept unless a threshold is asked for; they see neither the answer nor the corrupted
prompt, as the feature graph of the clean prompt does not see the corrupted one. Which method is best is chosen on the
same prompts on which it is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from analyses._common import checked_layers, layers_field
from analyses._contract import Analysis, Inputs, an_artifact, shown
from analyses._graphs import GraphView
from analyses.circuit_agreement.computing import run
from analyses.circuit_agreement.figures import NAMES, drawn_method, figures
from analyses.circuit_agreement.scoring import GRAPH, DrawnName, MethodName
from analyses.circuit_agreement.tables import COLUMNS
from analyses.circuit_agreement.where import ablation_of, detail
from data.graph_files import KIND
from hooks.errors import InputError
from hooks.pairs import align

if TYPE_CHECKING:
    from hooks.model import Model


class CircuitAgreementSpec(GraphView):
    """Options of circuit agreement."""

    layers: tuple[int, ...] = layers_field("layers whose heads and MLPs are compared")
    methods: tuple[MethodName, ...] = Field(
        ("eap_ig", "atp", "eap", "edge_sizes", "patching", "dla", "flow"),
        min_length=1,
        description="what is compared with ablation: sums of edge scores (eap, eap_ig) or of their sizes (edge_sizes), "
        "attribution patching, denoising, direct logit attribution, information-flow routes",
    )
    graph: str | None = an_artifact(KIND, "a kept or imported feature graph of one of the clean prompts, compared too")
    graph_errors: bool = Field(
        False,
        description="an MLP's number in that graph counts its error nodes, too; without, some may have none",
    )
    metric: Literal["logit_diff", "log_prob"] = Field(
        "logit_diff", description="what is measured: logit difference, or log-probability of the answer"
    )
    steps: int = Field(5, ge=1, le=256, description="points of integrated gradients, the corrupted prompt included")
    flow_threshold: float = Field(
        0.0, ge=0.0, lt=1.0, description="routes leave out parts with at most this share; 0.04 is usual for pictures"
    )
    top: int = Field(10, ge=1, le=1000, description="how many nodes count as the strongest; half of all at most")
    listed: int = Field(12, ge=1, le=100, description="disagreements listed of every method")
    draw: DrawnName | None = shown(
        None, description="the method that is drawn against ablation; none given means the first computed"
    )
    compare: Literal["size", "signed"] = shown(
        "size", description="the heatmap correlates sizes of scores, or scores with signs"
    )


def check(model: Model, inputs: Inputs, spec: CircuitAgreementSpec) -> None:
    """Refuse to draw what is not computed, layers that are not there, and pairs that do not align."""
    known = (*spec.methods, *((GRAPH,) if spec.graph is not None else ()))
    if drawn_method(spec) not in known:
        raise InputError(f"option draw = {spec.draw!r} is not computed: this run has {', '.join(known)}")
    checked_layers(model, spec.layers)
    for pair in inputs.pairs:
        align(model, pair)


ANALYSIS = Analysis(
    name="circuit_agreement",
    title="Circuit agreement",
    family="Circuits",
    question="Do the methods that find circuits name the same nodes, and which one foretells ablation?",
    meaning="Correlations say how alike two methods rank heads and MLPs; what they rank unlike ablation is listed.",
    paper="Kramár et al. 2024 (AtP*); Syed et al. 2023 (EAP); Hanna et al. 2024 (EAP-IG); Ferrando and Voita 2024",
    needs=("pairs", "pair"),
    spec=CircuitAgreementSpec,
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=lambda _spec: NAMES,
    detail=detail,
    act=ablation_of,
    onward=("component_ablation", "edge_attribution", "head_agreement", "information_flow"),
    trial={"spec": {"steps": 2, "top": 4, "listed": 4}},
    example={
        "pairs": [
            {
                "clean": "When John and Mary went to the store, John gave a drink to",
                "corrupted": "When John and Mary went to the store, Mary gave a drink to",
                "answer": " Mary",
                "distractor": " John",
            }
        ],
        "spec": {},
    },
)
