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
from analyses._dictionaries.kept import KIND, all_of
from analyses._dictionaries.training import Schedule, Training
from analyses._spec import an_artifact
from hooks.dictionaries import Placed
from hooks.errors import InputError
from hooks.sites import Site
from kernels.dictionary_step import Rule

if TYPE_CHECKING:
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
    most_texts: int | None = Field(None, ge=1, description="texts to read at most, drawn; none given means all")
    draw_seed: int = Field(1, ge=0, description="seed of what is drawn; trainings draw their text with 0 by default")


@dataclass(frozen=True, eq=False)
class AtHand:
    """What there is to look at.

    Attributes:
        placed: dictionaries, by layer.
        corpus: the text.
        texts: which of its texts are looked at; none that a dictionary was trained on, as far as that is known.
        name: of the dictionary, for people.
        words: what its numbers are measured on, for people.
        revision: of the artifact; "" for one made on the spot.
    """

    placed: tuple[Placed, ...]
    corpus: Corpus
    texts: tuple[int, ...]
    name: str
    words: str
    revision: str


def at_hand(
    model: Model, inputs: Inputs, spec: DictionarySpec, context: Context, share: float,
    check: Callable[[tuple[Placed, ...], str], None] = lambda _placed, _revision: None,
) -> AtHand:  # fmt: skip
    """The named dictionary, or a small one; and the text. Progress goes from 0 to `share`.

    `check(placed, revision)` of a named dictionary may raise InputError before anything is read or written.

    Raises:
        InputError: a dictionary or text of another model, texts too short to train on where no dictionary is named.
    """
    artifact = None if spec.dictionary is None else context.use("dictionary")
    placed = None if artifact is None else tuple(all_of(artifact, model))
    if artifact is not None and placed is not None:
        check(placed, artifact.revision)
    corpus = _corpus(model, inputs, spec, context, share * WROTE)
    count = len(corpus.ids)
    if artifact is None or placed is None:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(spec.draw_seed)).tolist()
        taught, held = sorted(order[: count // 2]), _drawn(order[count // 2 :], spec)
        made = _made(model, corpus, taught, spec, context.progress, (share * WROTE, share))
        words = f"{_counted(corpus, held)}; not the {len(taught)} texts that it was trained on"
        return AtHand((made,), corpus, tuple(held), "a small dictionary trained on the spot", words, "")
    about = dict(artifact.meta.get("about") or {})
    same = about.get("text") == corpus.source
    held = [int(one) for one in about.get("held") or ()] if same else []
    texts = _drawn(held or list(range(count)), spec)
    words = _counted(corpus, texts)
    if same:
        words += "; held out from training" if held else "; most of it was trained on, so these numbers flatter"
    return AtHand(placed, corpus, tuple(texts), f"dictionary {artifact.name}", words, artifact.revision)


def _drawn(texts: list[int], spec: DictionarySpec) -> list[int]:
    """As many of them as are asked for, in order."""
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(spec.draw_seed)).tolist()
    return sorted(texts[place] for place in order[: spec.most_texts or len(texts)])


def _counted(corpus: Corpus, texts: list[int]) -> str:
    tokens = sum(len(corpus.ids[one]) - 1 for one in texts)
    return f"{tokens:,} tokens of {len(texts)} of {corpus.source}" if "given text" not in corpus.source else (
        f"{tokens:,} tokens of {len(texts)} given texts")  # fmt: skip


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
    training = Training(x, x, rule, latents, Schedule(STEPS, BATCH, RATE, 20 * BATCH, spec.draw_seed))
    for _ in training.run():
        progress(middle + (last - middle) * training.step / STEPS, f"training step {training.step} of {STEPS}")
    return Placed(training.dictionary(), site, site, model.identity.as_dict(), {"kind": "autoencoder"})
