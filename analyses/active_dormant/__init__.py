"""Active and dormant heads: does the same head rest on the sink in one kind of text, and work in another?

For texts of several domains every head's weight on the sinks is read, text by text: a head that puts most of its
attention there is dormant. Domains are compared head by head with a reference domain. For the heads that differ most,
or those named, the loss is read with the head's output set to zero, and with its pattern set to the sink: a head that
is dormant in a domain should not be missed there.

Source: Guo et al. 2024, "Active-Dormant Attention Heads" (a Llama-2 head compared on Wikipedia and GitHub; zeroing a
head, and setting its pattern to the first token; METHODS § 3).

Ours: sinks are found in each text as `attention_sinks` does, with the same three options; a text without one has
mass 0, and their number is told. Texts of two domains are independent, so the k-th text of one is set against the k-th
of the other, which allows the exact sign-flip test; texts beyond the shorter domain's are left out of differences.
Marks hold the false discovery rate at 5% over all heads and domains together. Heads picked as the most different were
picked on these very texts: their differences are a little too large, their changes of the loss are not touched by that.
A pattern set to the sink means one-hot on the sink that this head looks at most, for all queries from there on.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from analyses._common import checked_layers, layers_field, steps
from analyses._contract import Analysis, Context, Frames, Inputs, shown
from analyses.active_dormant.computing import losses, masses
from analyses.active_dormant.figures import figures, names
from analyses.active_dormant.tables import (
    DIFFERENCES,
    HEADS,
    LOSSES,
    TEXTS,
    VERDICT,
    chosen_heads,
    differences_table,
    head_of,
    heads_table,
    losses_table,
    verdict_table,
)
from analyses.attention_sinks.finding import SinkSpec, read_texts
from hooks.errors import InputError, unknown

if TYPE_CHECKING:
    from hooks.model import Model


class DormantSpec(SinkSpec):
    """Options of active and dormant heads."""

    layers: tuple[int, ...] = layers_field("layers whose heads are compared")
    reference: str | None = Field(
        None, min_length=1, description="domain that the others are compared with; none means that of the first text"
    )
    dormant: float = Field(0.5, gt=0, lt=1, description="a head with this much weight on the sinks is dormant")
    top: int = Field(
        2, ge=0, le=64, description="heads whose loss is tested, those that differ most; 2 runs each a text"
    )
    heads: tuple[str, ...] = Field((), description="heads whose loss is tested in their place, such as L18H3")
    rows: int = shown(24, ge=1, le=64, description="heads drawn by domain, those that differ most")
    domain: str | None = shown(
        None, min_length=1, description="domain whose difference is drawn; none means the one with the largest"
    )


def run(model: Model, inputs: Inputs, spec: DormantSpec, context: Context) -> Frames:
    """Read every text and compare; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: what `check` refuses; activations that are not finite.
    """
    check(model, inputs, spec)
    layers, texts = checked_layers(model, spec.layers), read_texts(model, inputs, spec)
    middle = 1 / (2 + 2 * (len(spec.heads) or spec.top))
    read = [masses(model, text, layers, spec, inner.progress)
            for text, inner in steps(context, texts, "text", last=middle)]  # fmt: skip
    numbers = np.stack([one.mass.numpy() for one in read])
    heads = heads_table(numbers, inputs.labels, layers, spec.dormant)
    differences = differences_table(numbers, inputs.labels, layers, spec.reference or inputs.labels[0])
    tested = chosen_heads(differences, spec)
    raw = []
    for one, inner in steps(context, read if tested else [], "loss of text", first=middle):
        compute = partial(losses, model, one, tested, layers, inner.progress)
        part = context.part(f"losses of text {one.text.number}", compute)
        raw.append(part.assign(domain=one.text.label))
    described = pd.DataFrame([
        {"text": one.text.number, "domain": one.text.label, "begins": one.text.begins, "tokens": one.text.total,
         "sinks": len(one.sinks.positions) if one.sinks.found else 0, "at": ", ".join(map(str, one.sinks.positions))}
        for one in read
    ])  # fmt: skip
    verdict = verdict_table(heads, differences, read, spec.dormant)
    return {"verdict": verdict, "heads": heads, "differences": differences,
            "losses": losses_table(pd.concat(raw, ignore_index=True) if raw else pd.DataFrame()),
            "texts": described}  # fmt: skip


def check(model: Model, inputs: Inputs, spec: DormantSpec) -> None:
    """Refuse labels that leave nothing to compare, texts too short, heads and domains that are not there."""
    layers, labels = checked_layers(model, spec.layers), inputs.labels
    if not labels or not all(labels):
        raise InputError("texts need a label each, their domain: take --set domains, or a file with 'text' and 'label'")
    counts = pd.Series(list(labels)).value_counts(sort=False)
    if len(counts) < 2:
        raise InputError(f"all {len(labels)} texts are labelled {labels[0]!r}: give texts of two domains or more")
    if (few := counts[counts < 2]).size:
        raise InputError(f"domain {few.index[0]!r} has one text: an interval needs at least two of each domain")
    if spec.reference is not None and spec.reference not in counts.index:
        raise unknown("option reference", spec.reference, list(counts.index))
    if spec.domain is not None and spec.domain not in counts.index:
        raise unknown("option domain", spec.domain, list(counts.index))
    for name in spec.heads:
        _check_head(model, name, layers)
    read_texts(model, inputs, spec)


def _check_head(model: Model, name: str, layers: list[int]) -> None:
    (layer, head), count = head_of(name), model.geometry.n_heads
    if layer not in layers or head >= count:
        read = f"layers {', '.join(map(str, layers))}" if layers[-1] - layers[0] >= len(layers) else (
            f"layers {layers[0]} to {layers[-1]}")  # fmt: skip
        raise InputError(f"head {name} is not among those compared: {read}, heads 0 to {count - 1}")


_HARBOUR = "the boat was moving towards the harbour and the keeper knew that the harbour was closed"

ANALYSIS = Analysis(
    name="active_dormant",
    title="Active and dormant heads",
    family="Attention",
    question="Does the same head rest on the sink in one kind of text, and work in another?",
    meaning="Weight on the sinks by head and domain; dormant heads should cost nothing when they are taken away.",
    paper="Guo et al. 2024, Active-Dormant Attention Heads",
    needs=("texts",),
    spec=DormantSpec,
    onward=("sink_what_ifs", "component_ablation"),
    run=run,
    figures=figures,
    columns={"verdict": VERDICT, "heads": HEADS, "differences": DIFFERENCES, "losses": LOSSES, "texts": TEXTS},
    check=check,
    pictures=names,
    trial={"texts": [_HARBOUR, f"in spring {_HARBOUR}", "x = [1, 2, 3]\nprint(x)", "for i in x:\n    print(i, x[i])"],
           "labels": ["prose", "prose", "code", "code"], "spec": {"queries": 2, "threshold": 0.1, "top": 1}},
    example={"set": "domains", "limit": 12, "spec": {"top": 0}},
)  # fmt: skip
