"""Where a training's rows come from: a capture, given texts, a kept text, or text that the model writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses._contract import Context, Inputs
from analyses._dictionaries.corpus import Corpus, corpus_of_texts, drawn_corpus, kept_corpus
from analyses._dictionaries.harvest import Harvest, harvest
from hooks.dictionaries.placed import unlike
from hooks.errors import InputError, unknown

if TYPE_CHECKING:
    from analyses.train_dictionary import TrainSpec
    from data.capture_reader import CaptureReader
    from hooks.model import Model
    from hooks.sites import Site

WROTE, READ = 0.4, 0.5
"""Progress when the text is there, and when its activations are."""


@dataclass(frozen=True, eq=False)
class Taken:
    """Rows of activations, which of them are held out [row], the source in words, and the text if it was drawn."""

    rows: Harvest
    held: Tensor
    source: str
    drawn: Corpus | None = None


def read_rows(
    model: Model, inputs: Inputs, spec: TrainSpec, places: Sequence[tuple[Site, Site]], context: Context
) -> Taken:
    """Activations at every site of `places`, whole texts held out.

    Raises:
        InputError: one text alone, NaN in the activations, a capture of another model or without a site.
    """
    sites = list(dict.fromkeys(site for pair in places for site in pair))
    if spec.capture is not None:
        rows, source = captured_rows(context.use("capture"), model, sites), f"capture {spec.capture}"
        return Taken(rows, held_texts(rows.text, spec), source)
    corpus = _corpus(model, inputs, spec, context)
    rows = harvest(model, corpus, sites, lambda share, words: context.progress(WROTE + (READ - WROTE) * share, words))
    drawn = corpus if spec.text is None and not inputs.texts else None
    return Taken(rows, held_texts(corpus.document_of(rows.text), spec), corpus.source, drawn)


def _corpus(model: Model, inputs: Inputs, spec: TrainSpec, context: Context) -> Corpus:
    if spec.text is not None:
        return kept_corpus(context.use("text"), model)
    if inputs.texts:
        return corpus_of_texts(model, inputs.texts, spec.length)
    return drawn_corpus(model, spec.drawn, min(spec.length, model.geometry.n_ctx), spec.draw_seed, context, WROTE)


def captured_rows(reader: CaptureReader, model: Model, sites: Sequence[Site]) -> Harvest:
    """A capture's rows, the first token of each prompt left out.

    Raises InputError for a capture of another model, one that is not complete or lacks a site, NaN or infinity.
    """
    if told := unlike(reader.model, model):
        raise InputError(f"capture {reader.name!r} is of another model ({told[0]}); load that one")
    if not reader.complete:
        raise InputError(f"capture {reader.name!r} was interrupted: finish it first, by the command that began it")
    tokens = reader.tokens()
    later = torch.tensor(tokens["position"].tolist()) > 0
    values = {}
    for site in sites:
        key = next((one for one in reader.sites if one in ((site.layer, site.name), (site.layer, site.kind))), None)
        if key is None:
            raise unknown(f"site of capture {reader.name!r}", site.name, [name for _, name in reader.sites])
        found = reader.layer(key[1], key[0])[later].flatten(1).float()
        if not bool(found.isfinite().all()):
            raise InputError(f"capture {reader.name!r} holds NaN or infinity at {site.name}")
        values[site] = found
    text, position, token = (torch.tensor(tokens[name].tolist())[later] for name in ("prompt", "position", "token_id"))
    return Harvest(values, text, position, token)


def held_texts(text: Tensor, spec: TrainSpec) -> Tensor:
    """[row] bool, which are held out: whole texts [row], one or more, not all. Raises InputError for one text alone."""
    names, place = text.unique(return_inverse=True)
    if len(names) < 2:
        raise InputError("one text alone: part of the texts is held out, so at least two are needed")
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(spec.draw_seed))
    count = min(len(names) - 1, max(1, round(spec.held_out * len(names))))
    return torch.zeros(len(names), dtype=torch.bool).scatter(0, order[:count], True)[place]


def usual_rows(values: Sequence[Tensor], limit: float) -> Tensor:
    """[row] bool: norms of at most `limit` times the median, at every site; tokens on which attention rests are not."""
    usual = torch.ones(len(values[0]), dtype=torch.bool)
    for one in values:
        norms = one.norm(dim=1)
        usual &= norms <= limit * norms.median()
    return usual


def refuse_short(held: Tensor, latents: int, share: float) -> None:
    """Raise InputError for fewer tokens to train on than latents."""
    if int((~held).sum()) < latents:
        raise InputError(
            f"{len(held):,} tokens, {share:.0%} of the texts held out, are too few for {latents:,} latents: give more "
            "text, or fewer latents"
        )
