"""Text to train on and to measure on: the run's own texts, a kept text, or text that the model itself writes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hooks.decoding import ABSENT
from hooks.errors import InputError
from hooks.sampling import draw

if TYPE_CHECKING:
    from analyses._contract import Context
    from data.artifacts import Artifact
    from hooks.model import Model

KIND = "text"
BATCH = 64
TEMPERATURE = 0.9


@dataclass(frozen=True, eq=False)
class Corpus:
    """Token ids of every text or piece of one, where they came from in words, and of which document each is a piece.

    Without `documents` every text is one of its own.
    """

    ids: tuple[tuple[int, ...], ...]
    source: str
    documents: tuple[int, ...] = ()

    def document_of(self, text: Tensor) -> Tensor:
        """[row] the document of each row's text [row]."""
        return torch.tensor(self.documents or range(len(self.ids)))[text]

    def pieces(self) -> dict[int, list[int]]:
        """By document, which texts are its pieces, in order."""
        found: dict[int, list[int]] = {}
        for text, document in enumerate(self.documents or range(len(self.ids))):
            found.setdefault(document, []).append(text)
        return found

    def joined(self, texts: Sequence[int]) -> list[int]:
        """Token ids of several pieces, end to end."""
        return [token for text in texts for token in self.ids[text]]

    @property
    def n_tokens(self) -> int:
        """Tokens in all."""
        return sum(len(one) for one in self.ids)

    def contents(self) -> dict[str, Tensor]:
        """Tensors of an artifact."""
        lengths = torch.tensor([len(one) for one in self.ids])
        return {"ids": torch.tensor([token for one in self.ids for token in one]), "lengths": lengths}


def kept_corpus(artifact: Artifact, model: Model) -> Corpus:
    """From an artifact. Raises InputError when another tokenizer wrote it."""
    size = int(artifact.meta.get("vocabulary", -1))
    if size != model.geometry.d_vocab:
        raise InputError(
            f"text {artifact.name!r} has tokens of a vocabulary of {size}; this model's has {model.geometry.d_vocab}"
        )
    lengths = artifact.tensors["lengths"].tolist()
    parts = artifact.tensors["ids"].split(lengths)
    return Corpus(tuple(tuple(one.tolist()) for one in parts), str(artifact.meta["source"]))


def corpus_of_texts(model: Model, texts: Sequence[str], length: int) -> Corpus:
    """Texts of any length, cut into pieces of at most `length` tokens; nothing is put in front of them.

    Raises InputError for a text of fewer than two tokens, by its number.
    """
    pieces: list[tuple[int, ...]] = []
    documents: list[int] = []
    for number, text in enumerate(texts, 1):
        # Not `model.encode`: pieces have to fit what the model reads, the text need not.
        ids = model.all_ids(text)
        if len(ids) < 2:
            raise InputError(f"text {number}, {text[:40]!r}, has {len(ids)} tokens: at least 2 are needed")
        cut = [tuple(ids[first : first + length]) for first in range(0, len(ids), length)]
        whole = [one for one in cut if len(one) > 1]
        pieces += whole
        documents += [number] * len(whole)
    # Of the pieces: cut otherwise, the same texts are other ones to whoever counts them.
    digest = hashlib.sha256(repr(pieces).encode()).hexdigest()[:8]
    count = f"{len(texts)} given texts" if len(texts) > 1 else "one given text"
    return Corpus(tuple(pieces), f"{count} ({digest})", tuple(documents))


def drawn_corpus(model: Model, tokens: int, length: int, seed: int, context: Context, share: float) -> Corpus:
    """About `tokens` tokens that the model writes after its end-of-text token, in texts of `length`.

    Batches already drawn by this run before an interruption are not drawn again; progress goes from 0 to `share`.
    """
    batches = batches_of(tokens, length)
    done = (context.recall("text") or {}).get("tokens", torch.empty(0, BATCH, length, dtype=torch.long))
    for batch in range(len(done), batches):
        start = torch.full((BATCH, 1), beginning_of(model))

        def told(fraction: float, words: str, batch: int = batch) -> None:
            context.progress(share * (batch + fraction) / batches, f"writing text {batch + 1} of {batches}, {words}")

        random = torch.Generator().manual_seed(seed * 100_003 + batch)
        said = draw(model, start, length - 1, TEMPERATURE, random, stop=(), progress=told).tokens
        done = torch.cat([done, torch.cat([start, said], dim=1)[None]])
        context.remember("text", {"tokens": done})
    rows = done.flatten(0, 1).tolist()
    ids = tuple(tuple(one for one in row if one != ABSENT) for row in rows)
    source = f"{len(rows)} texts of {length} tokens that the model wrote (temperature {TEMPERATURE}, seed {seed})"
    return Corpus(ids, source)


def batches_of(tokens: int, length: int) -> int:
    """How many batches of BATCH texts `drawn_corpus` writes."""
    return max(1, -(-tokens // (BATCH * (length - 1))))


def beginning_of(model: Model) -> int:
    """The token after which a model writes a new document: end of text where there is one, else its first token."""
    named = model.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    unknown = getattr(model.tokenizer, "unk_token_id", None)
    for one in (named, model.tokenizer.bos_token_id, model.tokenizer.eos_token_id):
        if isinstance(one, int) and one != unknown:
            return one
    return 0
