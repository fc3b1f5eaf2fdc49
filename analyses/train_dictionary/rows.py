"""Where a training's rows come from: a capture, given texts, a kept text, or text that the model writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses._contract import Context, Inputs
from analyses._dictionaries.corpus import BATCH, Corpus, batches_of, corpus_of_texts, drawn_corpus, kept_corpus
from analyses._dictionaries.harvest import Harvest, harvest
from analyses._dictionaries.seen import hashes_of, runs_of
from hooks.dictionaries.placed import unlike
from hooks.errors import InputError, unknown

if TYPE_CHECKING:
    from analyses.train_dictionary import TrainSpec
    from data.capture_reader import CaptureReader
    from hooks.model import Model
    from hooks.sites import Site

UNREAD: dict[str, object] = {"seqpos_slice": [1, None]}
"""In SAELens' words: the first token of a text is left out."""
WROTE, READ = 0.4, 0.5
"""Progress when the text is there, and when its activations are."""


@dataclass(frozen=True, eq=False)
class Taken:
    """Rows of activations.

    Attributes:
        rows: all of them.
        held: [row] bool, held out.
        source: where the text came from, in words.
        seen: hashes of the documents that are trained on, as `hashes_of` makes them.
        metadata: how the text was read, in SAELens' words, as far as it is known.
        drawn: the text, if the model wrote it.
    """

    rows: Harvest
    held: Tensor
    source: str
    seen: Tensor
    metadata: dict[str, object]
    drawn: Corpus | None = None


def read_rows(
    model: Model, inputs: Inputs, spec: TrainSpec, places: Sequence[tuple[Site, Site]], latents: int, context: Context
) -> Taken:
    """Activations at every site of `places`, whole texts held out.

    Raises:
        InputError: one text alone, NaN in the activations, a capture of another model or without a site; before
            anything is computed, fewer tokens to train on than latents.
    """
    sites = list(dict.fromkeys(site for pair in places for site in pair))
    if spec.capture is not None:
        return _from_capture(context.use("capture"), model, sites, spec, latents)
    corpus = _corpus(model, inputs, spec, context)
    text = torch.tensor([one for one, ids in enumerate(corpus.ids) for _ in ids[1:]])
    held = held_texts(corpus.document_of(text), spec)
    refuse_short((len(held), int((~held).sum())), latents, spec.held_out)
    outside = set(text[held].tolist())
    taught = [corpus.joined(texts) for texts in corpus.pieces().values() if not outside & set(texts)]
    rows = harvest(model, corpus, sites, lambda share, words: context.progress(WROTE + (READ - WROTE) * share, words))
    drawn = corpus if spec.text is None and not inputs.texts else None
    first = {ids[0] for ids in corpus.ids}
    told = UNREAD | {"context_size": min(spec.length, model.geometry.n_ctx),
                     "prepend_bos": first == {model.tokenizer.bos_token_id}}  # fmt: skip
    return Taken(rows, held, corpus.source, hashes_of(taught), told, drawn)


def drawn_rows(model: Model, spec: TrainSpec) -> tuple[int, int]:
    """(rows in all, those to train on at least) of the text that the model would write."""
    length = min(spec.length, model.geometry.n_ctx)
    texts = BATCH * batches_of(spec.drawn, length)
    return texts * (length - 1), (texts - held_count(texts, spec)) * (length - 1)


def _from_capture(reader: CaptureReader, model: Model, sites: Sequence[Site], spec: TrainSpec, latents: int) -> Taken:
    refuse_capture(reader, model, sites)
    tokens = reader.tokens()
    later = torch.tensor(tokens["position"].tolist()) > 0
    held = held_texts(torch.tensor(tokens["prompt"].tolist())[later], spec)
    refuse_short((len(held), int((~held).sum())), latents, spec.held_out)
    rows = captured_rows(reader, model, sites)
    outside = set(rows.text[held].tolist())
    stretches = (
        part
        for prompt, mine in tokens[~tokens["prompt"].isin(outside)].sort_values("position").groupby("prompt")
        for part in runs_of(mine["token_id"].tolist(), mine["position"].tolist())
    )
    return Taken(rows, held, f"capture {spec.capture}", hashes_of(stretches), UNREAD)


def _corpus(model: Model, inputs: Inputs, spec: TrainSpec, context: Context) -> Corpus:
    if spec.text is not None:
        return kept_corpus(context.use("text"), model)
    if inputs.texts:
        return corpus_of_texts(model, inputs.texts, spec.length)
    return drawn_corpus(model, spec.drawn, min(spec.length, model.geometry.n_ctx), spec.draw_seed, context, WROTE)


def refuse_capture(reader: CaptureReader, model: Model, sites: Sequence[Site]) -> None:
    """Raise InputError for a capture of another model, one that is not complete, keeps no values or lacks a site."""
    if told := unlike(reader.model, model):
        raise InputError(f"capture {reader.name!r} is of another model ({told[0]}); load that one")
    if not reader.complete:
        raise InputError(f"capture {reader.name!r} was interrupted: finish it first, by the command that began it")
    if not reader.sites:
        raise InputError(
            f"capture {reader.name!r} was made with --keep statistics, and has no activations to train on: capture "
            f"again with --keep values, at {', '.join(site.name for site in sites)}"
        )
    for site in sites:
        if _key(reader, site) is None:
            raise unknown(f"site of capture {reader.name!r}", site.name, [name for _, name in reader.sites])


def _key(reader: CaptureReader, site: Site) -> tuple[int | None, str] | None:
    return next((one for one in reader.sites if one in ((site.layer, site.name), (site.layer, site.kind))), None)


def captured_rows(reader: CaptureReader, model: Model, sites: Sequence[Site]) -> Harvest:
    """A capture's rows, the first token of each prompt left out. Raises InputError as `refuse_capture`, and for NaN."""
    refuse_capture(reader, model, sites)
    tokens = reader.tokens()
    later = torch.tensor(tokens["position"].tolist()) > 0
    values = {}
    for site in sites:
        key = _key(reader, site)
        assert key is not None
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
    count = held_count(len(names), spec)
    return torch.zeros(len(names), dtype=torch.bool).scatter(0, order[:count], True)[place]


def held_count(texts: int, spec: TrainSpec) -> int:
    """How many of so many texts are held out."""
    return min(texts - 1, max(1, round(spec.held_out * texts)))


def usual_rows(values: Sequence[Tensor], limit: float) -> Tensor:
    """[row] bool: norms of at most `limit` times the median, at every site; tokens on which attention rests are not."""
    usual = torch.ones(len(values[0]), dtype=torch.bool)
    for one in values:
        norms = one.norm(dim=1)
        usual &= norms <= limit * norms.median()
    return usual


def refuse_short(rows: tuple[int, int], latents: int, share: float) -> None:
    """Raise InputError for fewer tokens to train on than latents; `rows` in all, and to train on."""
    every, taught = rows
    if taught < latents:
        raise InputError(
            f"option latents = {latents:,}: {every:,} tokens, {share:.0%} of the texts held out, are too few for so "
            f"many; {taught:,} at most, or more text"
        )
