"""Words of the model's own vocabulary, and what the model holds where it reads each of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analyses._dictionaries.corpus import Corpus
from analyses._dictionaries.harvest import harvest

if TYPE_CHECKING:
    from hooks.model import Model
    from hooks.sites import Site

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORD = re.compile(r"[ ][a-z]{3,}")
CARRIER = "A word:"
"""What stands before each word. Alone, a word sits where many models keep a massive state that drowns its letters."""
TAUGHT = 0.7
"""Share of the words that probes are fitted on."""


@dataclass(frozen=True, eq=False)
class Words:
    """Words of the vocabulary as the model holds them.

    Attributes:
        text: the words.
        letter: [word] which of LETTERS each begins with.
        read: [word d_in] at the site that is encoded.
        written: [word d_out] at the site that is reconstructed.
        taught: [word] bool, probes are fitted on these and tested on the others.
    """

    text: list[str]
    letter: Tensor
    read: Tensor
    written: Tensor
    taught: Tensor


def vocabulary_words(model: Model, count: int, seed: int) -> list[tuple[int, str]]:
    """Up to `count` tokens that are a space and a word of three or more small letters, drawn at random."""
    every = [(place, one[1:]) for place, one in enumerate(model.str_tokens(range(model.geometry.d_vocab)))
             if WORD.fullmatch(one)]  # fmt: skip
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(seed))[:count]
    return [every[place] for place in order.tolist()]


def read_words(
    model: Model, chosen: list[tuple[int, str]], sites: Sequence[Site],
    progress: Callable[[float, str], None],
) -> dict[Site, Tensor]:  # fmt: skip
    """[word channel] at each site, at the word's token after CARRIER."""
    before = tuple(model.encode(CARRIER))
    corpus = Corpus(tuple((*before, token) for token, _ in chosen), "words")
    read = harvest(model, corpus, sites, progress)
    last = read.position == len(before)
    order = read.text[last].argsort()
    return {site: values[last][order] for site, values in read.values.items()}


def words_of(found: list[tuple[int, str]], read: Tensor, written: Tensor, seed: int) -> Words:
    """`found` of `vocabulary_words` with their activations, split at random."""
    text = [word for _, word in found]
    order = torch.randperm(len(text), generator=torch.Generator().manual_seed(seed + 1))
    taught = torch.zeros(len(text), dtype=torch.bool)
    taught[order[: round(TAUGHT * len(text))]] = True
    letter = torch.tensor([LETTERS.index(word[0]) for word in text], dtype=torch.long)
    return Words(text, letter, read, written, taught)
