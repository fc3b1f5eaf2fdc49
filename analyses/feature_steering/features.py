"""The latents that are steered: a kept dictionary or a small one made on the spot, what is typical of each latent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from analyses._contract import Context
from analyses._dictionaries.corpus import Corpus, corpus_of_texts, kept_corpus
from analyses._dictionaries.harvest import harvest
from analyses._dictionaries.kept import one_of
from analyses._dictionaries.training import Schedule, Training
from analyses.feature_steering.words import boost_of, promoted, promoted_words, target_tokens
from data.sets._neutral import TEXTS
from hooks.dictionaries import Dictionary, Placed
from hooks.errors import InputError
from hooks.sites import Site
from kernels.dictionary_step import Rule

if TYPE_CHECKING:
    from analyses.feature_steering import FeatureSteeringSpec
    from hooks.model import Model

REFERENCE, HELD_OUT = TEXTS[:6], TEXTS[6:]
"""Neutral texts on which activations are measured, and those on which the cost is."""
SMALL_LATENTS, SMALL_ACTIVE, SMALL_STEPS, SMALL_BATCH = 64, 4, 80, 64
"""The dictionary made where none is named: enough to try the page, too small to say anything."""
COMMON = (0.002, 0.2)
"""Share of tokens on which a latent fires that is chosen without a target."""


@dataclass(frozen=True, eq=False)
class Latents:
    """A dictionary and the latents to steer.

    Attributes:
        placed: the dictionary at its site.
        chosen: the latents.
        units: activation [latent] that strength 1 clamps each to: its mean where it fires.
        own: whether that is the latent's own mean, [latent], or that of all latents, as it never fired.
        density: [d_sae] share of reference tokens on which each fires.
        mean: [d_sae] mean activation where it fires; 0 for those that never do.
        rows: [row d] the reference activations.
        words: what a continuation is searched for.
        how: how latents and words were chosen, in words.
        source: the text behind the reference.
    """

    placed: Placed
    chosen: tuple[int, ...]
    units: tuple[float, ...]
    own: tuple[bool, ...]
    density: Tensor
    mean: Tensor
    rows: Tensor
    words: tuple[str, ...]
    how: str
    source: str

    @property
    def direction(self) -> Tensor:
        """[d] of length 1: where more of all latents leads."""
        return unit(self.placed.dictionary.directions[list(self.chosen)].sum(dim=0))


def unit(vector: Tensor) -> Tensor:
    """Of length 1."""
    return vector.float() / vector.float().norm().clamp_min(1e-20)


def dictionary_of(model: Model, spec: FeatureSteeringSpec, context: Context) -> Placed | None:
    """The kept dictionary, None where none is named. Raises InputError for a transcoder or a dictionary of another
    model, layer or site, and for a latent that it does not have."""
    if spec.dictionary is None:
        return None
    found = one_of(context.use("dictionary"), model, spec.layer)
    if found.transcodes:
        raise InputError(
            f"dictionary {spec.dictionary!r} is a transcoder from {found.reads.name} to {found.writes.name}: steering "
            "edits one site, so it needs an autoencoder"
        )
    return found


def latents_of(model: Model, spec: FeatureSteeringSpec, kept: Placed | None, context: Context) -> Latents:
    """Read the reference text, make a dictionary where none is kept, and choose latents and words.

    Raises InputError for latents that are not there, that write nothing, or where no word can be the target.
    """
    corpus = _reference(model, spec, context)
    layer = model.geometry.n_layers // 2 if spec.layer is None else spec.layer
    site = kept.reads if kept else Site(layer, "resid_post")
    context.progress(0.02, "reading the reference text")
    some = _first_texts(corpus, spec.reference_tokens)
    rows = harvest(model, corpus, [site], lambda _share, _words: None, some).values[site][: spec.reference_tokens]
    placed = kept or Placed(small(rows), site, site, model.identity.as_dict())
    codes = placed.dictionary.encode(rows)
    count = torch.bincount(codes.index, minlength=placed.dictionary.d_sae)
    total = torch.zeros(placed.dictionary.d_sae).index_add_(0, codes.index, codes.value)
    density, mean = count / len(rows), total / count.clamp_min(1)
    chosen, how = _chosen(model, spec, density, mean, placed.dictionary)
    check_latents(chosen, placed.dictionary)
    named = tuple(word.strip() for word in spec.target)
    words = named or promoted_words(model, promoted(model, placed.dictionary.directions[list(chosen)]).sum(dim=0))
    if not spec.target:
        how += "; the words are those that their directions promote most, also as parts of longer words"
    every = float(codes.value.mean()) if len(codes.value) else 1.0
    own = tuple(bool(count[one]) for one in chosen)
    units = tuple(float(mean[one]) if mine else every for one, mine in zip(chosen, own, strict=True))
    return Latents(placed, chosen, units, own, density, mean, rows, words, how, corpus.source)


def check_latents(chosen: Sequence[int], dictionary: Dictionary) -> None:
    """Raise InputError for a latent that is not there, named twice, or whose direction is zero."""
    for one in chosen:
        if not 0 <= one < dictionary.d_sae:
            raise InputError(f"latent {one} does not exist: this dictionary has {dictionary.d_sae}, from 0")
        if not bool(dictionary.directions[one].any()):
            raise InputError(f"latent {one} writes nothing: its direction is zero; choose another")
    if len(set(chosen)) < len(chosen):
        raise InputError(f"latents {list(chosen)}: one is named twice")


def _reference(model: Model, spec: FeatureSteeringSpec, context: Context) -> Corpus:
    if spec.text is not None:
        return kept_corpus(context.use("text"), model)
    neutral = corpus_of_texts(model, REFERENCE, min(128, model.geometry.n_ctx))
    return Corpus(neutral.ids, f"{len(REFERENCE)} neutral texts")


def _first_texts(corpus: Corpus, tokens: int) -> range:
    """The texts that hold so many tokens, their first ones not counted; all where there are not so many."""
    held = 0
    for number, ids in enumerate(corpus.ids):
        if held >= tokens:
            return range(number)
        held += len(ids) - 1
    return range(len(corpus.ids))


def small(rows: Tensor) -> Dictionary:
    """A TopK dictionary trained on these rows for a moment."""
    latents = max(4, min(SMALL_LATENTS, len(rows) // 4))
    rule = Rule("topk", k=min(SMALL_ACTIVE, latents), auxiliary=0.0)
    schedule = Schedule(SMALL_STEPS, min(SMALL_BATCH, len(rows)), 0.002, 20 * SMALL_BATCH)
    training = Training(rows, rows, rule, latents, schedule)
    for _ in training.run():
        pass
    return training.dictionary()


def _chosen(
    model: Model, spec: FeatureSteeringSpec, density: Tensor, mean: Tensor, dictionary: Dictionary
) -> tuple[tuple[int, ...], str]:
    if spec.latents:
        return spec.latents, "latents as named"
    living = density > 0
    if not bool(living.any()):
        raise InputError("no latent fires on the reference text: name latents (--latents), or a text (--text)")
    if spec.target:
        score = boost_of(model, dictionary.directions, target_tokens(model, spec.target))
        how = "latent chosen: of those that fire, the one whose direction promotes the target most"
    else:
        some = (density >= COMMON[0]) & (density <= COMMON[1])
        living = some if bool(some.any()) else living
        score, how = mean, "latent chosen: the one that fires strongest, of those that fire now and then"
    return (int(score.masked_fill(~living, float("-inf")).argmax()),), how


def latents_table(model: Model, found: Latents, columns: Sequence[str]) -> pd.DataFrame:
    """One row a chosen latent."""
    boosts = promoted(model, found.placed.dictionary.directions[list(found.chosen)])
    rows = []
    for place, one in enumerate(found.chosen):
        top, bottom = boosts[place].topk(10).indices, (-boosts[place]).topk(10).indices
        rows.append({
            "latent": one, "site": found.placed.reads.kind, "layer": found.placed.reads.layer,
            "density": float(found.density[one]), "unit": found.units[place], "own": found.own[place],
            "norm": float(found.placed.dictionary.directions[one].norm()),
            "promoted": " ".join(repr(token) for token in model.str_tokens(top.tolist())),
            "suppressed": " ".join(repr(token) for token in model.str_tokens(bottom.tolist())),
        })  # fmt: skip
    return pd.DataFrame(rows)[list(columns)]
