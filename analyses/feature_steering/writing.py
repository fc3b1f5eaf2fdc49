"""Drawn continuations with edits in force on the prompt and on every new token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from analyses._edits import Edit
from hooks.decoding import ABSENT, cache_of, end_of_text
from hooks.errors import InputError
from hooks.losses import next_token_log_probs
from hooks.taps import Handle, hooked, tap

if TYPE_CHECKING:
    from hooks.model import Model


@dataclass(frozen=True, eq=False)
class Written:
    """`tokens` [sample new], ABSENT after an end of text; `logits` [d_vocab] after the prompt, edited."""

    tokens: Tensor
    logits: Tensor


@torch.no_grad()
def write(
    model: Model, prompt: Sequence[int], edits: Sequence[Edit], samples: int, new: int, temperature: float, seed: int
) -> Written:
    """Continue a prompt `samples` times at random; one seed gives one stream of random numbers whatever the edits.

    So two edits that leave the same probabilities give the same texts. Raises InputError for logits that are not
    finite, and for texts longer than the model reads.
    """
    if len(prompt) + new > model.geometry.n_ctx:
        raise InputError(f"{len(prompt)} tokens and {new} new ones: this model reads {model.geometry.n_ctx}")
    generator, stops = torch.Generator().manual_seed(seed), torch.tensor(end_of_text(model), dtype=torch.long)
    cache: Any = cache_of([], [])
    with model.lock, hooked([_tap(model, one) for one in edits]):
        fed = torch.tensor([list(prompt)], device=model.device)
        first = _next(model, fed, cache)
        cache.batch_repeat_interleave(samples)
        logits = first.expand(samples, -1)
        said, over = torch.full((samples, new), ABSENT), torch.zeros(samples, dtype=torch.bool)
        for step in range(new):
            now = torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator)[:, 0]
            said[~over, step] = now[~over]
            over |= torch.isin(now, stops)
            if step == new - 1 or bool(over.all()):
                break
            logits = _next(model, now[:, None].to(model.device), cache)
    return Written(said, first[0])


def _tap(model: Model, one: Edit) -> Any:
    def make() -> Handle:
        return tap(model.module, model.anatomy, model.geometry, one.site, one.edited)

    return make


def _next(model: Model, fed: Tensor, cache: Any) -> Tensor:
    """[row d_vocab] in fp32 on the CPU."""
    output: Any = model.module(fed, past_key_values=cache, use_cache=True, logits_to_keep=1)
    logits = output.logits[:, -1].float().cpu()
    if not bool(logits.isfinite().all()):
        raise InputError("the steered model's logits are not finite; give smaller strengths, or try float32")
    return logits


def plain_losses(model: Model, prompt: Sequence[int], tokens: Tensor) -> Tensor:
    """[sample]: nats a token of each continuation by the model without edits, an end of text included.

    NaN where nothing was written.
    """
    there = tokens != ABSENT
    start = torch.tensor([list(prompt)]).expand(len(tokens), -1)
    ids = torch.cat([start, tokens.clamp_min(0)], dim=1).to(model.device)
    found = next_token_log_probs(model, ids)[:, len(prompt) - 1 :].double().cpu()
    return -(found * there).sum(dim=1) / there.sum(dim=1)


def distinct(tokens: Tensor) -> float:
    """Different pairs of neighbouring tokens over all pairs of one continuation [new]; 1 where there is no pair."""
    said = [int(one) for one in tokens if int(one) != ABSENT]
    pairs = list(pairwise(said))
    return len(set(pairs)) / len(pairs) if pairs else 1.0
