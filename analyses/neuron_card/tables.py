"""The tables of a neuron's card."""

from __future__ import annotations

from analyses._common import LAYER, TOKENS
from analyses._contract import Column
from analyses.neuron_reader.tables import COLUMNS as READER
from analyses.neuron_reader.tables import NEURON

_WORDS = {column.name: column for column in READER["words"]}
_NORMS = {column.name: column for column in READER["neurons"]}
_LINE = Column("line", "", "number of the continuation, from 0: the unchanged one")

COLUMNS = {
    "card": (
        LAYER,
        NEURON,
        _NORMS["out_norm"],
        _NORMS["in_norm"],
        _NORMS["gate_norm"],
        Column("target", "", "token whose log-probability is followed"),
        Column("target_id", "", "its id"),
        Column("typical", "", "median length of the residual stream after the layer, the first token left out"),
    ),
    "words": (
        _WORDS["direction"],
        _WORDS["rank"],
        Column("token", "", "the token"),
        _WORDS["token_id"],
        _WORDS["value"],
        _WORDS["z"],
    ),
    "activations": (
        *TOKENS,
        Column("activation", "activation", "of the neuron, after the nonlinearity and times the gate's branch"),
        Column("written", "", "length of what it writes there"),
        Column("residual", "", "length of the residual stream after the layer"),
    ),
    "clamps": (
        _LINE,
        Column("kind", "", "unchanged; neuron: held at a value; control: another neuron of the layer, as long"),
        Column("held", "", "the neuron that is held; missing where none is"),
        Column("value", "activation", "that it is held at, at every token; missing where none is"),
        Column("share", "", "length of what is then written, over `typical`; its sign is the value's"),
        Column("log_prob", "nats", "of the target as the next token"),
        Column("kl", "nats", "of the next token's distribution from the unchanged one"),
        Column("text", "", "how the model goes on, greedily"),
    ),
    "said": (
        _LINE,
        Column("step", "", "place among the new tokens, from 1"),
        Column("token", "", "the token"),
        Column("token_id", "", "its id"),
        Column("z", "standard deviations", "how far it stands out in what the neuron writes"),
    ),
}
