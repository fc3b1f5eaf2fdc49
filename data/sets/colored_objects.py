"""Colored objects: three objects with a colour each; what colour is the one asked about?"""

from __future__ import annotations

import random
from collections.abc import Iterator

from data.sets._contract import LICENCE, SetDefinition, words
from hooks.pairs import PromptPair, Tokenises

SCENE = "Q: On the {surface}, {see} a {C1} {O1}, a {C2} {O2}, and a {C3} {O3}. What color is the "
TEMPLATES = (f"{SCENE}{{asked}}?\nA: {{Colour}}\n{SCENE}{{asked}}?\nA:",)
SURFACES = ("table", "desk", "floor")
SIGHTS = ("there is", "you see", "I see")
OBJECTS = words("pen cup book ball plate bag box hat key phone ring shoe spoon watch bottle lamp brush")
COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "pink")


def candidates(rng: random.Random, _tokenizer: Tokenises) -> Iterator[PromptPair]:
    """Endless one-shot pairs; the object asked about in the second question is the only word that differs."""
    while True:
        shown, shown_objects, shown_colours = _scene(rng)
        scene, objects, colours = _scene(rng)
        example = rng.randrange(3)
        clean_at, corrupted_at = rng.sample(range(3), 2)
        start = f"{shown}{shown_objects[example]}?\nA: {shown_colours[example].capitalize()}\n{scene}"
        clean, corrupted = (f"{start}{objects[at]}?\nA:" for at in (clean_at, corrupted_at))
        answer, distractor = (f" {colours[at].capitalize()}" for at in (clean_at, corrupted_at))
        yield PromptPair(clean, corrupted, answer, distractor, f"asked {('first', 'second', 'third')[clean_at]}")


def _scene(rng: random.Random) -> tuple[str, list[str], list[str]]:
    """A question up to the object asked about, with its three objects and their three colours."""
    objects, colours = rng.sample(OBJECTS, 3), rng.sample(COLOURS, 3)
    slots = {f"{kind}{i + 1}": words[i] for kind, words in (("O", objects), ("C", colours)) for i in range(3)}
    return SCENE.format(surface=rng.choice(SURFACES), see=rng.choice(SIGHTS), **slots), objects, colours


SET = SetDefinition(
    name="colored_objects",
    title="Colored objects",
    description=(
        "Three coloured objects are listed and one is asked about, after one worked example. The answer is its colour, "
        "the distractor the colour of another object in the same list. Corrupted: only the object asked about changes, "
        "to the distractor's. Label: where in the list the clean object stands. Small models are near chance here."
    ),
    licence=LICENCE,
    paper="Merullo et al. 2024, Circuit Component Reuse Across Tasks in Transformer Language Models",
    templates=TEMPLATES,
    candidates=candidates,
)
