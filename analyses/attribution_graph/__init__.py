"""Attribution graph: which features, written where, led to this next token, and does the model agree when asked?

Transcoders stand in for MLPs on one prompt. With attention patterns, norm scales and what transcoders miss held
constant, every active latent's pre-activation and every logit is a sum over what was written before it: latents,
errors, token embeddings. The graph of these sums is pruned to the nodes and edges that carry most of the influence on
the likeliest next tokens; the strongest nodes are then taken away in the model itself, to see whether it does what the
graph says.

Source: Ameisen et al. 2025, "Circuit Tracing", and circuit-tracer; formulas in METHODS § 11, `hooks/replacement`.

Ours: rows are computed by matrix products over many targets at once, without autograd, to rounding the same. Layers
without a transcoder are all error, and latents beyond `most_features` join the error of their layer and position, so
that sums stay whole and scores never flatter. The first token has no latents and no errors, as in circuit-tracer, but
here it is whatever the prompt begins with, for nothing is put in front of it; its embedding is a node. Ablations are
run three ways: with all held, with latents that respond, and in the free model.

Without transcoders to use, small ones of a few layers are trained on the spot, for a first look. A kept or imported
graph is shown by its name in `graph`; labels and groups written by hand are kept with it under `keep_as`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from analyses._contract import Analysis, Context, Frames, Inputs, an_artifact
from analyses._dictionaries.kept import KIND as DICTIONARY
from analyses._graphs import GraphView
from analyses.attribution_graph.asking import act, detail
from analyses.attribution_graph.columns import COLUMNS
from analyses.attribution_graph.computing import trace
from analyses.attribution_graph.figures import figures, names
from analyses.attribution_graph.marks import check_marks
from data.artifacts import check_name
from data.graph_files import KIND
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class AttributionGraphSpec(GraphView):
    """Options of the attribution graph."""

    transcoders: str | None = an_artifact(
        DICTIONARY, "kept transcoders, one a layer or a cross-layer set; none given trains small ones on the spot"
    )
    graph: str | None = an_artifact(KIND, "a kept or imported graph to show, in place of making one of the prompt")
    most_features: int = Field(
        3000,
        ge=1,
        le=20_000,
        description="latents with edges of their own at most; others count as error, and are counted",
    )
    node_threshold: float = Field(0.8, gt=0, le=1, description="share of all influence that the kept nodes hold")
    edge_threshold: float = Field(0.98, gt=0, le=1, description="share of what is left that the kept edges hold")
    target_mass: float = Field(0.95, gt=0, le=1, description="probability that the next tokens asked about hold")
    most_targets: int = Field(10, ge=1, le=50, description="next tokens asked about at most")
    beginning: Literal["constant", "nodes"] = Field(
        "constant", description="what MLPs write at the first token: a constant, or latents and errors as elsewhere"
    )
    check_interventions: int = Field(
        8,
        ge=0,
        le=100,
        description="nodes to take away in the model itself: those of the strongest paths, then latents; 0 for none",
    )
    ablate: tuple[str, ...] = Field((), description="ids of nodes to take away besides: 4_77_5, E_464_0")
    most_paths: int = Field(10, ge=1, le=100, description="strongest paths listed, from tokens and from errors each")
    label: tuple[str, ...] = Field((), description="labels by hand: 4_77_5=plural, or 4_77=plural at every position")
    supernode: tuple[str, ...] = Field((), description="groups by hand: says Mary=27_3_28,29_5_28")
    keep_as: str | None = Field(None, min_length=1, description="name to keep the pruned graph under")
    replace: bool = Field(False, description="keep it even where another graph has that name, in its place")
    drawn: int = Field(
        900, ge=100, le=1_000_000, description="tokens that the model writes to train on, without kept transcoders"
    )
    draw_seed: int = Field(0, ge=0, description="seed of that text and training")

    def claims(self) -> dict[str, tuple[str, bool]]:
        """It does not replace another run's graph unless asked for."""
        return dict.fromkeys(self.keeps(), (KIND, self.replace))


def run(model: Model, inputs: Inputs, spec: AttributionGraphSpec, context: Context) -> Frames:
    """Trace the prompt, prune, ablate; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: transcoders of another model, or that are none of MLPs; a prompt of one token; a graph that would
            not fit in memory; labels, groups and ablations of nodes that the graph does not have.
    """
    return trace(model, inputs, spec, context)


def _check(_model: Model, _inputs: Inputs, spec: AttributionGraphSpec) -> None:
    if spec.graph is not None and spec.transcoders is not None:
        raise InputError("options graph and transcoders: a kept graph is shown as it is; leave one of them out")
    if spec.graph is not None and spec.ablate:
        raise InputError("options graph and ablate: a kept graph is shown as it is; name its transcoders to ablate")
    if spec.keep_as is not None:
        check_name(spec.keep_as)
    check_marks(spec)


ANALYSIS = Analysis(
    name="attribution_graph",
    title="Attribution graph",
    family="Circuits",
    question="Which features led to this next token, and does the model do without them what the graph says?",
    meaning="Edges add up to what their target reads; the scores say how much of the influence is not error.",
    paper="Ameisen et al. 2025, Circuit Tracing: Revealing Computational Graphs in Language Models; circuit-tracer",
    needs=("prompt",),
    spec=AttributionGraphSpec,
    version=2,
    detail=detail,
    act=act,
    onward=("train_dictionary", "feature_browser", "feature_steering"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=_check,
    pictures=names,
    trial={"spec": {"drawn": 200, "check_interventions": 3, "most_features": 60}},
    example={
        "prompt": "The capital of France is",
        "spec": {"node_threshold": 0.99, "check_interventions": 4},
    },
)
