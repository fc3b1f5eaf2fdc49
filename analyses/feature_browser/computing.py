"""Everything that the browser shows of every latent, so that choosing another one computes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from analyses._contract import Context, Frames, Inputs
from analyses._dictionaries.at_hand import at_hand
from analyses._dictionaries.detection import detection, halves_of_texts, windows_of
from analyses._dictionaries.firing import Firing, firing
from analyses._dictionaries.harvest import Harvest, harvest
from analyses._dictionaries.labels import KIND, TokenLabeller, contents, features_id, labels_of, written
from analyses.feature_browser.asked import asked_frame
from analyses.feature_browser.cards import (
    REACH,
    activations_of,
    contexts_of,
    effects_of,
    first_effects,
    neighbours_of,
    own_of,
)
from analyses.feature_browser.choosing import refuse_beyond
from analyses.feature_browser.contexts import Texts
from analyses.feature_browser.effects import in_stream
from analyses.feature_browser.tables import table
from hooks.dictionaries import CrossLayer, Placed
from hooks.errors import InputError

if TYPE_CHECKING:
    from analyses.feature_browser import BrowserSpec
    from hooks.model import Model

MADE, READ, ENCODED, LABELLED = 0.4, 0.65, 0.75, 0.85
"""Shares of the progress until the text is there, activations are read, latents encoded, labels scored."""
OWN_TOKENS = 256
Words = Callable[[int], str]
Progress = Callable[[float, str], None]


def browse(model: Model, inputs: Inputs, spec: BrowserSpec, context: Context) -> Frames:
    """Read the text once, encode it, and look at every latent from all sides."""

    def early(found: tuple[Placed, ...], revision: str) -> None:
        mine = _placed(found, spec.layer)
        if spec.latent is not None:
            refuse_beyond(spec.latent, mine.dictionary.d_sae)
        for one in spec.ask:
            refuse_beyond(one, mine.dictionary.d_sae, "ask")
        in_stream(model, mine)
        _labels(mine, revision, spec, context)

    given = at_hand(model, inputs, spec, context, MADE, early)
    placed = _placed(given.placed, spec.layer)
    labels = _labels(placed, given.revision, spec, context)
    if spec.keep_as is not None:
        whose = features_id(given.revision, placed)
        context.keep(spec.keep_as, KIND, *contents(labels, whose, placed.dictionary.d_sae))
    every = model.str_tokens(range(model.geometry.d_vocab))
    read = harvest(model, given.corpus, [placed.reads], _within(context.progress, MADE, READ), list(given.texts))
    fires = firing(placed.dictionary, read.values[placed.reads], _within(context.progress, READ, ENCODED))
    texts = Texts(read.text.numpy(), read.position.numpy(), given.corpus.ids, every.__getitem__)
    own = model.encode(inputs.prompt) if inputs.prompt is not None else list(given.corpus.ids[given.texts[0]])
    shown = "the prompt" if inputs.prompt is not None else "no prompt was given: the beginning of a text"
    about = {"dictionary": given.name, "revision": given.revision, "text": given.words, "tokens": fires.rows,
             "layer": -1 if placed.reads.layer is None else placed.reads.layer, "reads": placed.reads.name,
             "writes": _written(placed, given.crossing), "own": shown}  # fmt: skip
    halves = halves_of_texts(given.corpus.document_of(read.text), spec.draw_seed)
    rows = _latents(fires, placed, read, halves, every, labels, spec, context)
    asked = asked_frame(rows, fires, read, halves, every, spec, context)
    frames = {"about": table("about", [about]), "latents": rows, "asked": asked}
    frames["effects"], frames["logits"] = effects_of(model, placed, spec.tokens, every)
    first_effects(frames)
    context.progress(0.9, "contexts")
    return frames | {
        "contexts": contexts_of(fires, texts, spec.contexts),
        "activations": activations_of(fires),
        "neighbours": neighbours_of(fires, placed, spec.neighbours),
        "own": own_of(model, placed, own[:OWN_TOKENS]),
        "own_tokens": table("own_tokens", [
            {"position": at, "token": every[one], "token_id": one} for at, one in enumerate(own[:OWN_TOKENS])
        ]),
    }  # fmt: skip


def _written(placed: Placed, crossing: CrossLayer | None) -> str:
    if crossing is None:
        return placed.writes.name
    later = [str(one) for one in crossing.layers if one >= (placed.reads.layer or 0)]
    return f"hook_mlp_out of layers {', '.join(later)}, summed" if len(later) > 1 else placed.writes.name


def _placed(found: tuple[Placed, ...], layer: int | None) -> Placed:
    if layer is None:
        return found[0]
    for one in found:
        if one.reads.layer == layer:
            return one
    known = ", ".join(str(one.reads.layer) for one in found)
    raise InputError(f"option layer = {layer}: the dictionary has layers {known}")


def _labels(placed: Placed, revision: str, spec: BrowserSpec, context: Context) -> dict[int, str]:
    """Kept ones, newly written ones over them."""
    latents = placed.dictionary.d_sae
    mine = features_id(revision, placed)
    found = {} if spec.labels is None else labels_of(context.use("labels"), mine, latents)
    return found | written(spec.write, latents)


def _latents(
    fires: Firing, placed: Placed, read: Harvest, held: Tensor, every: list[str], labels: dict[int, str],
    spec: BrowserSpec, context: Context,
) -> pd.DataFrame:  # fmt: skip
    """One row a latent, labels tested on `held` [row]; promoted and suppressed tokens come from the effects later."""
    labeller = TokenLabeller(fires, read.token, ~held, every)
    windows, token = windows_of(read.text, read.token, REACH), read.token.numpy()
    norms = placed.dictionary.directions.norm(dim=1).tolist()
    rows: list[dict[str, Any]] = []
    for latent in range(fires.latents):
        if latent % 64 == 0:
            share = ENCODED + (LABELLED - ENCODED) * latent / fires.latents
            context.progress(share, f"labels, latent {latent:,} of {fires.latents:,}")
        at, values = fires.of(latent)
        ids, place = np.unique(token[at], return_inverse=True)
        mass = np.bincount(place, weights=values, minlength=len(ids))
        scored = detection(labeller, fires, windows, held, latent, spec.draw_seed)
        rows.append({
            "latent": latent, "density": len(at) / max(1, fires.rows), "norm": norms[latent],
            "largest": values.max(initial=0.0), "mean": values.mean() if len(at) else np.nan,
            "top_token": every[ids[mass.argmax()]] if len(at) else "",
            "top_share": mass.max() / mass.sum() if len(at) else np.nan,
            "written": labels.get(latent, ""), "automatic": distinct(labeller.label(latent)), "auroc": scored.auroc,
            "auroc_low": scored.low, "auroc_high": scored.high, "tested": scored.tested,
            "promoted": "", "suppressed": "",
        })  # fmt: skip
    return table("latents", rows)


def distinct(label: str) -> str:
    """A label of tokens without those that look like an earlier one, with and without their space."""
    return " · ".join(dict.fromkeys(label.split(" · ")))


def _within(progress: Progress, first: float, last: float) -> Progress:
    return lambda share, words: progress(first + (last - first) * share, words)
