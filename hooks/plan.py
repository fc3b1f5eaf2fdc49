"""Capture plans: which sites, tokens and number format; and what that will cost before anything runs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from hooks.capture import run_with_cache
from hooks.errors import InputError, unknown
from hooks.geometry import Geometry
from hooks.progress import Progress, silent
from hooks.sites import PATTERN_KINDS, Site

if TYPE_CHECKING:
    from hooks.model import Model

STORED: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class CaptureCost:
    """Predicted cost: payload bytes on disk, peak activation bytes of one batch, and seconds on this machine."""

    prompts: int
    tokens: int
    payload_bytes: int
    batch_bytes: int
    seconds: float


@dataclass(frozen=True)
class CapturedPrompt:
    """One prompt's share of a capture: `activations` by site, each [pos …] in the plan's format."""

    index: int
    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    activations: dict[Site, Tensor]


@dataclass(frozen=True)
class CapturePlan:
    """What to keep. `tokens` selects all positions or the last; prompts of one length share a batch, never padded."""

    sites: tuple[Site, ...]
    tokens: Literal["all", "last"] = "all"
    dtype: str = "float32"
    batch: int = 8

    def check(self, model: Model) -> None:
        """Raise InputError for sites this model lacks or that name a position, unknown formats, or T×T sites."""
        if self.dtype not in STORED:
            raise unknown("capture dtype", self.dtype, STORED)
        if not self.sites:
            raise InputError("a capture needs at least one site, e.g. blocks.0.hook_resid_post")
        for site in self.sites:
            site.check(model.geometry)
            if site.kind in PATTERN_KINDS:
                raise InputError(
                    f"{site.name} grows with the square of the prompt and is not stored; capture rot_q and rot_k"
                )
            if site.position is not None:
                raise InputError(f"{site.label} names a position; a capture chooses with tokens='all' or 'last'")

    def cost(self, model: Model, prompts: Sequence[Sequence[int]]) -> CaptureCost:
        """Predict the cost for token-id prompts; seconds come from one timed forward of the median length."""
        self.check(model)
        lengths = sorted(len(p) for p in prompts)
        kept = [n if self.tokens == "all" else 1 for n in lengths]
        width = STORED[self.dtype].itemsize
        per_token = sum(_numbers(site, model.geometry) for site in dict.fromkeys(self.sites))
        longest = lengths[-1] if lengths else 0
        seconds = _seconds_per_token(model, lengths[len(lengths) // 2]) * sum(lengths) if lengths else 0.0
        return CaptureCost(
            prompts=len(prompts),
            tokens=sum(lengths),
            payload_bytes=per_token * width * sum(kept),
            batch_bytes=per_token * model.dtype.itemsize * longest * self.batch,
            seconds=seconds,
        )

    def run(
        self, model: Model, prompts: dict[int, Sequence[int]], progress: Progress = silent
    ) -> Iterator[CapturedPrompt]:
        """Capture token-id prompts, keyed by index, one at a time in batches of equal length."""
        self.check(model)
        done = 0
        for indices in _buckets(prompts, self.batch):
            progress(done / max(1, len(prompts)), f"captured {done} of {len(prompts)} prompts")
            cache = run_with_cache(model, torch.tensor([list(prompts[i]) for i in indices]), self.sites, last_only=True)
            for row, index in enumerate(indices):
                yield self._prompt(index, prompts[index], {site: cache[site][row] for site in self.sites})
            done += len(indices)

    def _prompt(self, index: int, ids: Sequence[int], activations: dict[Site, Tensor]) -> CapturedPrompt:
        positions = tuple(range(len(ids))) if self.tokens == "all" else (len(ids) - 1,)
        kept = {site: value[list(positions)].to(STORED[self.dtype]) for site, value in activations.items()}
        return CapturedPrompt(index, tuple(ids), positions, kept)


def _numbers(site: Site, geometry: Geometry) -> int:
    """Numbers that one token of `site` takes; one head of many takes its share."""
    return prod(site.shape(geometry, 1, 1)) // (1 if site.head is None else site.heads(geometry))


def _buckets(prompts: dict[int, Sequence[int]], size: int) -> Iterator[list[int]]:
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, ids in prompts.items():
        by_length[len(ids)].append(index)
    for length in sorted(by_length):
        same = by_length[length]
        yield from (same[start : start + size] for start in range(0, len(same), size))


def _seconds_per_token(model: Model, length: int) -> float:
    tokens = torch.zeros(1, length, dtype=torch.long)
    started = time.perf_counter()
    run_with_cache(model, tokens, last_only=True)
    return (time.perf_counter() - started) / length
