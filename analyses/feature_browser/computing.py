"""Everything that the browser shows of every latent, so that choosing another one computes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses._contract import Context, Frames, Inputs
from analyses._dictionaries.at_hand import at_hand
from analyses._dictionaries.corpus import Corpus
from analyses._dictionaries.detection import detection, halves_of_texts, windows_of
from analyses._dictionaries.firing import Firing, firing
from analyses._dictionaries.harvest import Harvest, harvest
from analyses._dictionaries.labels import KIND, TokenLabeller, contents, features_id, labels_of, written
from analyses.feature_browser.contexts import Texts, bins_of, chosen_rows, together
from analyses.feature_browser.effects import effects, in_stream
from analyses.feature_browser.neighbours import nearest_few
from analyses.feature_browser.tables import table
from hooks.dictionaries import Placed
from hooks.errors import InputError

if TYPE_CHECKING:
    from analyses.feature_browser import BrowserSpec
    from hooks.model import Model

MADE, READ, ENCODED, LABELLED = 0.4, 0.65, 0.75, 0.85
"""Shares of the progress until the text is there, activations are read, latents encoded, labels scored."""
BINS, REACH, OWN_TOKENS = 16, 10, 256
Words = Callable[[int], str]
Progress = Callable[[float, str], None]


def browse(model: Model, inputs: Inputs, spec: BrowserSpec, context: Context) -> Frames:
    """Read the text once, encode it, and look at every latent from all sides."""

    def early(found: tuple[Placed, ...], revision: str) -> None:
        mine = _placed(found, spec.layer)
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
             "writes": placed.writes.name, "own": shown}  # fmt: skip
    frames = {"about": table("about", [about]), "latents": _latents(fires, placed, read, every, labels, spec, context)}
    frames["effects"] = _effects(model, placed, spec.tokens, every)
    _first_effects(frames)
    context.progress(0.9, "contexts")
    return frames | {
        "contexts": _contexts(fires, texts, spec.contexts),
        "activations": _activations(fires),
        "neighbours": _neighbours(fires, placed, spec.neighbours),
        "own": _own(model, placed, own[:OWN_TOKENS]),
        "own_tokens": table("own_tokens", [
            {"position": at, "token": every[one], "token_id": one} for at, one in enumerate(own[:OWN_TOKENS])
        ]),
    }  # fmt: skip


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
    fires: Firing, placed: Placed, read: Harvest, every: list[str], labels: dict[int, str], spec: BrowserSpec,
    context: Context,
) -> pd.DataFrame:  # fmt: skip
    """One row a latent; promoted and suppressed tokens are filled in from the effects."""
    held = halves_of_texts(read.text, spec.draw_seed)
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
            "written": labels.get(latent, ""), "automatic": labeller.label(latent), "auroc": scored.auroc,
            "auroc_low": scored.low, "auroc_high": scored.high, "tested": scored.tested,
            "promoted": "", "suppressed": "",
        })  # fmt: skip
    return table("latents", rows)


def _effects(model: Model, placed: Placed, k: int, every: list[str]) -> pd.DataFrame:
    found = effects(model, placed, k)
    parts = []
    for direction, ids, logits in (("promoted", found.promoted, found.promoted_logits),
                                   ("suppressed", found.suppressed, found.suppressed_logits)):  # fmt: skip
        count, most = ids.shape
        flat = ids.flatten().tolist()
        parts.append(pd.DataFrame({
            "latent": np.repeat(np.arange(count), most), "direction": direction,
            "rank": np.tile(np.arange(most), count),
            "token": [every[one] for one in flat], "token_id": flat, "logit": logits.flatten().double().numpy(),
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True).astype({"direction": "object", "token": "object"})


def _first_effects(frames: Frames) -> None:
    first = frames["effects"][frames["effects"]["rank"] == 0]
    for direction in ("promoted", "suppressed"):
        mine = first[first["direction"] == direction].set_index("latent")
        frames["latents"][direction] = mine["token"].to_numpy()
        frames["latents"][f"{direction}_logit"] = mine["logit"].to_numpy()


def _contexts(fires: Firing, texts: Texts, most: int) -> pd.DataFrame:
    rows = []
    for latent in range(fires.latents):
        at, values = fires.of(latent)
        for band, rank, row in chosen_rows(at, values, texts, most, REACH) if len(at) else ():
            told = texts.context(row, at, values, REACH)
            activation = float(values[np.searchsorted(at, row)])
            rows.append({"latent": latent, "band": band, "rank": rank, "activation": activation, **told})
    return table("contexts", rows)


def _activations(fires: Firing) -> pd.DataFrame:
    rows = []
    for latent in range(fires.latents):
        _, values = fires.of(latent)
        if len(values):
            edges, counts = bins_of(values, BINS)
            rows += [{"latent": latent, "low": low, "high": high, "count": count}
                     for low, high, count in zip(edges, edges[1:], counts, strict=False)]  # fmt: skip
    return table("activations", rows)


def _neighbours(fires: Firing, placed: Placed, most: int) -> pd.DataFrame:
    parts = []
    for kind, (others, values) in (("direction", nearest_few(placed.dictionary.directions, most)),
                                   ("together", together(fires, most))):  # fmt: skip
        count, few = others.shape
        parts.append(pd.DataFrame({
            "latent": np.repeat(np.arange(count), few), "kind": kind, "rank": np.tile(np.arange(few), count),
            "other": others.flatten(), "value": values.flatten().astype(np.float64),
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True).astype({"kind": "object"})


def _own(model: Model, placed: Placed, ids: list[int]) -> pd.DataFrame:
    if len(ids) < 2:
        return table("own", [])
    read = harvest(model, Corpus((tuple(ids),), "own"), [placed.reads], lambda *_: None)
    codes = placed.dictionary.encode(read.values[placed.reads])
    at = read.position[codes.rows()].tolist()
    return table("own", [
        {"position": place, "latent": latent, "activation": value}
        for place, latent, value in zip(at, codes.index.tolist(), codes.value.tolist(), strict=True)
    ])  # fmt: skip


def _within(progress: Progress, first: float, last: float) -> Progress:
    return lambda share, words: progress(first + (last - first) * share, words)
