"""What a direction says by itself, read through the final norm, and the words that are searched for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model

WORDS = 5
"""Words that the target has where none is named."""


@torch.no_grad()
def promoted(model: Model, directions: Tensor) -> Tensor:
    """[latent d_vocab]: what each direction by itself does to logits, read through the final norm, minus its mean."""
    normed = model.final_norm(directions.to(model.device, model.dtype)).float()
    logits = (normed @ model.W_U.float()).cpu()
    return logits - logits.mean(dim=1, keepdim=True)


@torch.no_grad()
def boost_of(model: Model, directions: Tensor, tokens: Sequence[int]) -> Tensor:
    """[latent]: the mean over some tokens of `promoted`, without the others' numbers."""
    normed = model.final_norm(directions.to(model.device, model.dtype)).float()
    wanted = model.W_U[:, list(tokens)].float().mean(dim=1) - model.W_U.float().mean(dim=1)
    return (normed @ wanted).cpu()


def promoted_words(model: Model, boost: Tensor) -> tuple[str, ...]:
    """The words among the tokens of largest boost [d_vocab]. Raises InputError where there is none."""
    found: dict[str, None] = {}
    for token in model.str_tokens(boost.topk(min(200, len(boost))).indices.tolist()):
        word = token.strip().lower()
        if len(word) > 1 and word.isalnum():
            found.setdefault(word)
        if len(found) == WORDS:
            break
    if not found:
        raise InputError("none of the tokens that these latents promote is a word: name target words (--target)")
    return tuple(found)


def target_tokens(model: Model, words: Sequence[str]) -> tuple[int, ...]:
    """The different tokens with which the words begin, after a space."""
    return tuple(dict.fromkeys(model.encode(f" {word.strip()}")[0] for word in words))
