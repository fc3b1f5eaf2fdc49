"""Induction: a list of words begins again, and the next word is the one that followed before."""

from __future__ import annotations

import random
from collections.abc import Iterator

from data.sets._contract import LICENCE, SetDefinition, words
from hooks.pairs import PromptPair, Tokenises

TEMPLATES = ("{w0} {w1} … {wn} {w0} … {wk-1}",)
WORDS = words("""
    apple river chair music stone paper cloud horse bread glass train field light water house table
    night green sound smoke metal ocean tower money plant sugar wheel mouth heart world north story
    image party level model youth trade beach crown frame grass knife lemon mouse nurse organ piano
    queen radio salad tiger uncle video wagon yellow garden window bridge forest market doctor island silver
""")
SHORTEST, LONGEST = 8, 14


def candidates(rng: random.Random, _tokenizer: Tokenises) -> Iterator[PromptPair]:
    """Endless pairs: n different random words, then the first k again; corrupted replaces the word that followed, once.

    k ≥ 3, so that only the list's first word, which no space precedes, may be other tokens when it returns.
    """
    while True:
        length = rng.randint(SHORTEST, LONGEST)
        *words, other = rng.sample(WORDS, length + 1)
        repeated = rng.randint(3, length - 2)
        broken = [*words[:repeated], other, *words[repeated + 1 :]]
        clean, corrupted = (" ".join(first + words[:repeated]) for first in (words, broken))
        yield PromptPair(clean, corrupted, f" {words[repeated]}", f" {other}", f"{length} words")


SET = SetDefinition(
    name="induction",
    title="Induction on random words",
    description=(
        "A list of different random words starts over; the answer is the word that came next the first time. "
        "Corrupted: in the first occurrence that word is another one, which is the distractor. Nothing but repetition "
        "tells the answer. Label: how many words the list has."
    ),
    licence=LICENCE,
    paper="Olsson et al. 2022, In-context Learning and Induction Heads",
    templates=TEMPLATES,
    candidates=candidates,
)
