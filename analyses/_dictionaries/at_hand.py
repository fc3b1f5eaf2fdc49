"""A dictionary and a text to look at it with: kept ones by their names, else small ones made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from analyses._contract import Context, Inputs, Spec
from analyses._dictionaries.corpus import KIND as TEXT
from analyses._dictionaries.corpus import Corpus, corpus_of_texts, drawn_corpus, kept_corpus
from analyses._dictionaries.harvest import harvest
from analyses._dictionaries.kept import KIND, cross_of, is_cross, latents_of
from analyses._dictionaries.seen import NAME, was_seen
from analyses._dictionaries.training import DEAD_BATCHES, Schedule, Training
from analyses._spec import an_artifact
from hooks.dictionaries import CrossLayer, Placed
from hooks.errors import InputError
from hooks.sites import Site
from kernels.dictionary_step import Rule

if TYPE_CHECKING:
    from data.artifacts import Artifact
    from hooks.model import Model

LATENTS, ACTIVE, STEPS, BATCH, RATE = 256, 8, 150, 256, 0.003
"""Of a dictionary made on the spot: seconds of training, for a first look and no more."""

WROTE, READ = 0.5, 0.7
"""Shares of the progress until text is there, and until its activations are read for a training on the spot."""


class DictionarySpec(Spec):
    """Options of an analysis that looks at a dictionary over a text."""

    dictionary: str | None = an_artifact(
        KIND, "a kept dictionary; none given trains a small one on half of the texts, for a first look"
    )
    text: str | None = an_artifact(TEXT, "a kept text to read, in place of the input's; trainings keep NAME.text")
    drawn: int = Field(8_000, ge=100, le=10_000_000, description="tokens that the model writes where no text is given")
    length: int = Field(128, ge=8, le=8192, description="tokens of a text; longer ones are cut into pieces")
    most_texts: int | None = Field(None, ge=1, description="whole texts to read at most; none given means all")
    draw_seed: int = Field(1, ge=0, description="seed of what is drawn; trainings draw their text with 0 by default")


@dataclass(frozen=True, eq=False)
class AtHand:
    """What there is to look at.

    Attributes:
        placed: dictionaries, by layer; of a cross-layer set each layer's latents, as `kept.summed` has them.
        corpus: the text.
        texts: which of its texts are looked at; none that a dictionary was trained on, as far as that is known.
        name: of the dictionary, for people.
        words: what its numbers are measured on, for people.
        revision: of the artifact; "" for one made on the spot.
        crossing: the cross-layer set, where it is one.
    """

    placed: tuple[Placed, ...]
    corpus: Corpus
    texts: tuple[int, ...]
    name: str
    words: str
    revision: str
    crossing: CrossLayer | None = None


def at_hand(
    model: Model, inputs: Inputs, spec: DictionarySpec, context: Context, share: float,
    check: Callable[[tuple[Placed, ...], str], None] = lambda _placed, _revision: None,
) -> AtHand:  # fmt: skip
    """The named dictionary, or a small one; and the text. Progress goes from 0 to `share`.

    `check(placed, revision)` of a named dictionary may raise InputError before anything is read or written.

    Raises:
        InputError: a dictionary or text of another model, texts that were all trained on, or too short to train on
            where no dictionary is named.
    """
    if spec.dictionary is None:
        return _made_at_hand(model, _corpus(model, inputs, spec, context, share * WROTE), spec, context, share)
    artifact = context.use("dictionary")
    placed = tuple(latents_of(artifact, model))
    check(placed, artifact.revision)
    corpus = _corpus(model, inputs, spec, context, share * WROTE)
    held, told = _untrained(corpus, artifact)
    texts = _drawn(corpus, held, spec)
    crossing = cross_of(artifact, model) if is_cross(artifact) else None
    words = _counted(corpus, texts) + told
    return AtHand(placed, corpus, tuple(texts), f"dictionary {artifact.name}", words, artifact.revision, crossing)


def _untrained(corpus: Corpus, artifact: Artifact) -> tuple[list[int], str]:
    """(texts that the dictionary was not trained on, what to say of the others)."""
    pieces = corpus.pieces()
    if NAME in artifact.tensors:
        known = artifact.tensors[NAME]
        new = [document for document, texts in pieces.items() if not was_seen(corpus.joined(texts), known)]
        if not new:
            raise InputError(
                f"dictionary {artifact.name!r} was trained on all of these {len(pieces)} texts (on half of each or "
                "more), so that its numbers on them would flatter it: give others, or none and the model writes them"
            )
        left = len(pieces) - len(new)
        told = f"; {left} more {'was' if left == 1 else 'were'} trained on and left out" if left else ""
        return [text for document in new for text in pieces[document]], told or "; none was trained on"
    # kept before the trained texts were: known again only whole, and cut as they were
    about = dict(artifact.meta.get("about") or {})
    every = list(range(len(corpus.ids)))
    if about.get("text") != corpus.source:
        return every, ""
    held = [int(one) for one in about.get("held") or ()]
    words = "; held out from training" if held else "; most of it was trained on, so these numbers flatter"
    return held or every, words


def _made_at_hand(model: Model, corpus: Corpus, spec: DictionarySpec, context: Context, share: float) -> AtHand:
    pieces = corpus.pieces()
    # one document alone is parted all the same: better its other half than what was trained on
    groups = list(pieces.values()) if len(pieces) > 1 else [[one] for one in pieces[next(iter(pieces))]]
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(spec.draw_seed)).tolist()
    half = len(groups) // 2
    taught, held = (sorted(text for at in some for text in groups[at]) for some in (order[:half], order[half:]))
    held = _drawn(corpus, held, spec)
    made = _made(model, corpus, taught, spec, context.progress, (share * WROTE, share))
    whose = f"not the {half} texts that" if len(pieces) > 1 else "the rest of the text, whose other half"
    words = f"{_counted(corpus, held)}; {whose} it was trained on"
    return AtHand((made,), corpus, tuple(held), "a small dictionary trained on the spot", words, "")


def _drawn(corpus: Corpus, texts: list[int], spec: DictionarySpec) -> list[int]:
    """The pieces of as many of their documents as are asked for, in order."""
    among = set(texts)
    documents = [mine for one in corpus.pieces().values() if (mine := [text for text in one if text in among])]
    order = torch.randperm(len(documents), generator=torch.Generator().manual_seed(spec.draw_seed)).tolist()
    return sorted(text for place in order[: spec.most_texts or len(order)] for text in documents[place])


def _counted(corpus: Corpus, texts: list[int]) -> str:
    tokens = sum(len(corpus.ids[one]) - 1 for one in texts)
    count = len(corpus.document_of(torch.tensor(texts)).unique())
    what = "given texts" if "given text" in corpus.source else f"of {corpus.source}"
    return f"{tokens:,} tokens of {count} {what}"


def _corpus(model: Model, inputs: Inputs, spec: DictionarySpec, context: Context, share: float) -> Corpus:
    if spec.text is not None:
        return kept_corpus(context.use("text"), model)
    if inputs.texts:
        return corpus_of_texts(model, inputs.texts, spec.length)
    return drawn_corpus(model, spec.drawn, min(spec.length, model.geometry.n_ctx), spec.draw_seed, context, share)


def _made(
    model: Model, corpus: Corpus, texts: list[int], spec: DictionarySpec, progress: Callable[[float, str], None],
    span: tuple[float, float],
) -> Placed:  # fmt: skip
    """BatchTopK of LATENTS latents in the middle layer's resid_post."""
    rows = sum(len(corpus.ids[one]) - 1 for one in texts)
    if rows < 4:
        raise InputError(
            f"{len(corpus.ids)} texts: half of them are trained on where no dictionary is named, and these have {rows} "
            "tokens to train on; give more text, or name a kept dictionary (--dictionary)"
        )
    site = Site(model.geometry.n_layers // 2, "resid_post")
    first, last = span
    middle = first + (last - first) * READ
    read = harvest(model, corpus, [site], lambda share, words: progress(first + (middle - first) * share, words), texts)
    x, latents = read.values[site], min(LATENTS, rows // 2)
    rule = Rule("batch_topk", k=min(ACTIVE, latents), auxiliary=1 / 32, centred=True)
    schedule = Schedule(STEPS, BATCH, RATE, DEAD_BATCHES * min(BATCH, len(x)), spec.draw_seed)
    training = Training(x, x, rule, latents, schedule)
    for _ in training.run():
        progress(middle + (last - middle) * training.step / STEPS, f"training step {training.step} of {STEPS}")
    return Placed(training.dictionary(), site, site, model.identity.as_dict(), {"kind": "autoencoder"})
