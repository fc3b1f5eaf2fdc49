"""Factual recall: a sentence about a subject stops before the object that completes the fact."""

from __future__ import annotations

import random
from collections.abc import Iterator

from data.sets._contract import LICENCE, SetDefinition
from data.sets._facts import Relation, relations
from hooks.pairs import PromptPair, Tokenises


def candidates(rng: random.Random, _tokenizer: Tokenises) -> Iterator[PromptPair]:
    """Every ordered pair of facts with different objects, in every wording, once; relations take turns, reshuffled."""
    waiting = [_shuffled(rng, relation) for relation in relations()]
    while waiting:
        rng.shuffle(waiting)
        for pairs in waiting:
            yield pairs.pop()
        waiting = [pairs for pairs in waiting if pairs]


def _shuffled(rng: random.Random, relation: Relation) -> list[PromptPair]:
    """All counterfactual pairs of one relation: the subject changes, and with it the object."""
    pairs = [
        PromptPair(text.format(subject=one), text.format(subject=other), f" {right}", f" {wrong}", relation.name)
        for text in relation.templates
        for one, right in relation.facts
        for other, wrong in relation.facts
        if right != wrong
    ]
    rng.shuffle(pairs)
    return pairs


SET = SetDefinition(
    name="factual_recall",
    title="Factual recall",
    description=(
        "A subject and a relation are given and the prompt stops before the object. Corrupted: another subject of the "
        "same relation, whose object is the distractor. Label: the relation (capital, language, continent, currency, "
        "country of a city, young of an animal, opposite, chemical symbol). Subjects of unequal token length do not "
        "align and are refused."
    ),
    licence=LICENCE,
    paper="Meng et al. 2022, Locating and Editing Factual Associations in GPT",
    templates=tuple(template for relation in relations() for template in relation.templates),
    candidates=candidates,
)
