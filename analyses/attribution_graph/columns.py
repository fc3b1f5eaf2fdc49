"""What the columns of an attribution graph's tables are."""

from __future__ import annotations

from analyses._common import POSITION
from analyses._contract import Column

SHARE = "share"
_ENDS = (Column("source", "", "id of the node that writes"), Column("target", "", "id of the node that reads"))
COLUMNS = {
    "nodes": (
        Column("node", "", "circuit-tracer's id: layer_latent_position, layer_-1_position, E_token_position"),
        Column("kind", "", "feature, error, token or logit"),
        Column("layer", "", "layer of the MLP, from 0; −1 for tokens, one past the last for logits"),
        POSITION,
        Column("index", "", "latent, or token id; −1 for errors"),
        Column("label", "", "written by hand; of logits the token"),
        Column("group", "", "supernode that it is in"),
        Column("promotes", "", "tokens whose logits what it writes raises most"),
        Column("activation", "", "of a latent"),
        Column("probability", "probability", "of a next token"),
        Column("influence", SHARE, "of the logits' weight that flows back to it, in this graph"),
        Column("held", SHARE, "of all influence before pruning that it and all stronger nodes hold together"),
    ),
    "edges": (
        *_ENDS,
        Column("weight", "", "what the source adds to the target's pre-activation, or to a logit less the mean logit"),
        Column("share", SHARE, "|weight| over the sum of the target's incoming ones in this graph"),
        Column("influence", SHARE, "of the logits' weight that passes along it, in this graph"),
    ),
    "paths": (
        Column("path", "", "from 1, strongest first for each kind of start"),
        Column("start", "", "token, error, or token with at least one latent on the way"),
        Column("share", SHARE, "of all influence in this graph that runs along it"),
        Column("sign", "", "product of its edges' signs: −1 where the start works against the end"),
        Column("route", "", "its nodes in words"),
        Column("nodes", "", "their ids"),
    ),
    "tokens": (POSITION, Column("token", "", "the prompt's token")),
    "scores": (
        Column("graph", "", "what it was made with, or the name that it is kept under"),
        Column("prompt", "", "the graph's prompt"),
        Column("layers", "", "of the model; missing where a file does not say"),
        Column("covered", "", "layers that have transcoders; all MLP output of the others is error"),
        Column("replacement", SHARE, "of the influence of tokens and errors that is the tokens'"),
        Column("completeness", SHARE, "of the influence on nodes whose inputs are not errors"),
        Column("scored", "", "before pruning, or on the pruned graph where a file tells no scores"),
        Column("active", "latents", "active on the prompt"),
        Column("traced", "latents", "that have edges of their own; the others are in the errors"),
        Column("nodes_before", "nodes", "with influence, before pruning"),
        Column("nodes", "nodes", "after it"),
        Column("edges_before", "edges", "before pruning"),
        Column("edges", "edges", "after it"),
        Column("largest_gap", SHARE, "largest |edges + biases − value| of a row, over the largest value"),
        Column("memory", "bytes", "most that tracing held at once beyond the model, predicted"),
    ),
    "interventions": (
        Column("source", "", "id of the node that was taken away"),
        Column("source_label", "", "in words"),
        Column("target", "", "id of the node looked at"),
        Column("target_label", "", "in words"),
        Column("target_kind", "", "feature or logit"),
        Column("direct", "", "predicted change of the target with all else held: minus the edge"),
        Column("held", "", "measured so: patterns, norm scales and MLP outputs as they were"),
        Column("total", "", "predicted change where latents on the way respond"),
        Column("responding", "", "measured so: patterns, norm scales and errors as they were"),
        Column("free", "", "measured in the model with nothing held"),
        Column("before", "", "the target's value before"),
    ),
}
