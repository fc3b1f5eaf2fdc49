"""Information flow: along which routes does a prediction get its information, from which tokens and through what?

Every residual is a sum: of the residual before it and what every head brings from every token, or what the MLP adds.
A part's share is how much nearer the sum is with it than without, in the L1 norm. From the residual that makes the
prediction the search goes down along the parts whose share is above a threshold; what it reaches are the routes. No
second prompt and no gradient is needed, one forward is enough. Behind every node stand its words, behind an edge its
heads, behind an FFN its neurons.

Source: Ferrando and Voita 2024, "Information Flow Routes: Automatically Interpreting Language Models at Scale"
(METHODS § 8: the L1 proximity, the threshold at the level of (head, key) parts before heads are summed, the parts
left renormalised to 1, the reverse search); Tufanov et al. 2024, LM Transparency Tool (what a click shows).

Ours: output biases of attention and MLP are in the sum and no part of it. Keys without any weight are no parts. Where
attention and MLP run in parallel, all of them and the residual that enters the block are the parts of one sum. Flow is
the share of the prediction that runs through a node: the products of shares along routes, added up; an MLP reads all of
the residual before it. A share is a matter of size and direction in the residual stream, not of effect: ablate what it
names. The first token, whose states are huge, often carries much flow and little information.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from pydantic import Field

from analyses._contract import Analysis, Context, Frames, Inputs, shown
from analyses._graphs import GraphView
from analyses._plots import glyphs
from analyses.information_flow.computing import flow_frames
from analyses.information_flow.figures import PICTURES, figures
from analyses.information_flow.reading import refuse_long
from analyses.information_flow.routes import Routes
from analyses.information_flow.tables import COLUMNS
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class FlowSpec(GraphView):
    """Options of information flow."""

    threshold: float = Field(
        0.04, ge=0.0, lt=1.0, description="parts with at most this share are left out; 0.01 to 0.10 make useful graphs"
    )
    renormalise: bool = Field(
        True,
        description="leave out single (head, token) parts and let the others sum to 1; otherwise edges whose heads sum "
        "to at most the threshold are left out, and shares stay as they are",
    )
    token: int | None = Field(
        None, description="position whose prediction is explained, negative ones from the end; none means the last"
    )
    words: int = Field(5, ge=1, le=50, description="tokens kept of every reading of a node")
    edge_weight: Literal["flow", "share"] = shown(
        "flow", description="edges weigh the share of the prediction along them, or of the lower node in the upper one"
    )
    chains: bool = shown(False, description="draw every node of stretches that are residual stream alone")
    neurons: int = Field(5, ge=0, le=100, description="neurons kept of every FFN on the routes; 0: none")


def run(model: Model, inputs: Inputs, spec: FlowSpec, context: Context) -> Frames:
    """Search the routes of one prediction; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: an empty or too long prompt, a position that is not there, activations that are not finite.
    """
    ids = _ids(model, inputs, spec)
    routes = Routes(spec.threshold, spec.renormalise)
    words = min(spec.words, model.geometry.d_vocab)
    return flow_frames(model, ids, routes, words, spec.neurons, context)


def _ids(model: Model, inputs: Inputs, spec: FlowSpec) -> list[int]:
    """The prompt up to the position whose prediction is explained."""
    ids = model.encode(str(inputs.prompt))
    place = len(ids) - 1 if spec.token is None else spec.token
    if not -len(ids) <= place < len(ids):
        raise InputError(f"option token = {place}: positions are 0 to {len(ids) - 1}, or −{len(ids)} to −1")
    kept = ids[: place % len(ids) + 1]
    refuse_long(model, len(kept))
    return kept


def check(model: Model, inputs: Inputs, spec: FlowSpec) -> None:
    """Refuse a position that is not there, and a prompt whose patterns are too large."""
    _ids(model, inputs, spec)


def detail(frames: Frames, _spec: FlowSpec, figure: str, node: str, _row: str) -> pd.DataFrame | None:
    """What lies behind a node of the routes: heads of its edges, words, what its block wrote, neurons."""
    if figure != "routes":
        return None
    heads = frames["heads"][frames["heads"]["target"] == node].nlargest(10, "share")
    rows = [(f"head L{one.layer}H{one.head} from {one.source_position}", f"{one.share:.3f}", "share")
            for one in heads.itertuples()]  # fmt: skip
    rows += [(f"neuron {one.neuron}, raises {one.raises}", f"{one.share:.3f}", "share")
             for one in frames["neurons"][frames["neurons"]["node"] == node].itertuples()]  # fmt: skip
    rows += [(f"{one.sense} {glyphs(str(one.token))}", f"{one.logit:+.2f}", "logits")
             for one in frames["written"][frames["written"]["node"] == node].itertuples()]  # fmt: skip
    rows += [(f"{one.reading}: {glyphs(str(one.token))}", f"{one.probability:.3f}", "probability")
             for one in frames["words"][frames["words"]["node"] == node].itertuples()]  # fmt: skip
    return pd.DataFrame(rows, columns=["behind it", "value", "unit"])


def act(frames: Frames, _spec: FlowSpec, node: str) -> tuple[str, Mapping[str, Any]] | None:
    """How to ablate a node: an attention or FFN at the last position by zeros, an earlier token by hiding it."""
    said = frames["prediction"].iloc[0]
    found = frames["nodes"][frames["nodes"]["node"] == node]
    if found.empty:
        return None
    layer, position, kind = int(found["layer"].iloc[0]), int(found["position"].iloc[0]), node[0]
    asked, answer = {"prompt": str(said["text"])}, str(said["token"])
    if position == said["position"]:
        parts = {"A": ["attn_out", "heads"], "F": ["mlp_out"], "R": ["attn_out", "mlp_out", "heads"]}.get(kind)
        more = {"components": parts, "layers": [layer], "where": "last token", "keep_first": position > 0, "top": 0}
        # Answers of tasks follow a space: a token that has none cannot be asked for there.
        known = parts is not None and answer.startswith(" ") and answer.strip()
        return ("component_ablation", asked | more | {"answer": answer.strip()}) if known else None
    later = frames["edges"][(frames["edges"]["source_position"] == position) & (frames["edges"]["layer"] > layer)]
    read = sorted(set(later.loc[later["target_position"] != position, "layer"]))
    more = {"sources": [str(position)], "queries": "all", "reach": 0, "layers": read}
    return ("attention_knockout", asked | more) if read else None


ANALYSIS = Analysis(
    name="information_flow",
    title="Information flow",
    family="Circuits",
    question="Along which routes does a prediction get its information?",
    meaning="An edge is as wide as the share of the prediction that runs along it; what is drawn leads up to the "
    "prediction, at the top right.",
    paper="Ferrando and Voita 2024; Tufanov et al. 2024",
    needs=("prompt",),
    spec=FlowSpec,
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=lambda _spec: PICTURES,
    detail=detail,
    act=act,
    onward=("logit_lens", "attention_patterns", "attention_knockout"),
    example={
        "prompt": "When John and Mary went to the store, John gave a drink to",
        "spec": {},
    },
)
