"""Indirect object identification: who receives the thing, the name that was said only once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import cycle

from data.sets._contract import LICENCE, SetDefinition, words
from hooks.pairs import PromptPair, Tokenises

TEMPLATES = (
    "When {A} and {B} went to the {place}, {S} gave {thing} to",
    "When {A} and {B} got home from the {place}, {S} handed {thing} to",
    "After {A} and {B} left the {place}, {S} passed {thing} to",
    "While {A} and {B} were working at the {place}, {S} gave {thing} to",
    "Then, {A} and {B} met at the {place}, and {S} gave {thing} to",
    "Last week {A} and {B} spent a day at the {place}. At noon {S} offered {thing} to",
    "Because {A} and {B} were late for the {place}, {S} sent {thing} to",
    "Yesterday {A} and {B} had a long talk at the {place}. Afterwards {S} gave {thing} to",
)
NAMES = words("""
    John Mary Tom James Anna Alice Robert Sarah David Emma Paul Laura Peter Kate Mark Lisa Daniel Jane Michael Susan
    Andrew Helen George Julia Henry Rachel Jack Emily Simon Martha Alex Maria Chris Adam Amy Kevin Linda Eric Claire
""")
PLACES = words("store school park office station museum restaurant hospital library beach market garden")
THINGS = (
    *("a drink", "a book", "a ring", "a letter", "a ticket", "a sandwich", "a bag", "a gift", "a coat"),
    *("the keys", "the map", "the phone"),
)


def candidates(rng: random.Random, _tokenizer: Tokenises) -> Iterator[PromptPair]:
    """Endless pairs, ABBA and BABA in turn; the second subject is the only word that differs within a pair."""
    for order in cycle(("ABBA", "BABA")):
        receiver, giver = rng.sample(NAMES, 2)
        first, second = (receiver, giver) if order == "ABBA" else (giver, receiver)
        words = {"A": first, "B": second, "place": rng.choice(PLACES), "thing": rng.choice(THINGS)}
        template = rng.choice(TEMPLATES)
        clean, corrupted = (template.format(S=name, **words) for name in (giver, receiver))
        yield PromptPair(clean, corrupted, f" {receiver}", f" {giver}", order)


SET = SetDefinition(
    name="ioi",
    title="Indirect object identification",
    description=(
        "Two people are named, one of them acts, and the prompt stops before the other's name. The answer is the name "
        "said once, the distractor the name said twice. Corrupted: the acting person becomes the other one, so the "
        "answer flips. Label ABBA: the receiver is named first; BABA: the giver is named first."
    ),
    licence=LICENCE,
    paper="Wang et al. 2023, Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 Small",
    templates=TEMPLATES,
    candidates=candidates,
)
