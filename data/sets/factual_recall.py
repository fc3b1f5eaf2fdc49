"""Factual recall: a sentence about a subject stops before the object that completes the fact."""

from __future__ import annotations

import random
from collections.abc import Iterator

from data.sets._contract import LICENCE, SetDefinition
from data.sets._facts import Relation, relations
from hooks.pairs import PromptPair, Tokenises


def candidates(rng: random.Random, _tokenizer: Tokenises) -> Iterator[PromptPair]:
    """Every ordered pair of facts with different objects, in every wording, once; relations take turns in random order."""
    waiting = [_shuffled(rng, relation) for relation in relations()]
    while waiting:
        rng.shuffle(waiting)
        for pairs in waiting:
            yield pairs.pop()
        waiting = [pairs for pairs in waiting if pairs]


def _shuffled(rng: random.Random, relation: Relation) -> list[PromptPair]:
    """All counterfactual pairs of one relation: the subject changes, and with it the object."""
    pairs = [
        PromptPair(template.format(subject=subject), template.format(subject=other), f" {answer}", f" {other_answer}", relation.name)
        for template in relation.templates
        for subject, answer in relation.facts
        for other, other_answer in relation.facts
        if answer != other_answer
    ]
    rng.shuffle(pairs)
    return pairs


SET = SetDefinition(
    name="factual_recall",
    title="Factual recall",
    description=(
        "A subject and a relation are given and the prompt stops before the object. Corrupted: another subject of the same relation, "
        "whose object is the distractor. Label: the relation (capital, language, continent, currency, country of a city, young of an "
        "animal, opposite, chemical symbol). Subjects of unequal token length do not align and are refused."
    ),
    licence=LICENCE,
    paper="Meng et al. 2022, Locating and Editing Factual Associations in GPT",
    templates=tuple(template for relation in relations() for template in relation.templates),
    candidates=candidates,
)
