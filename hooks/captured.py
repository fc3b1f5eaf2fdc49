"""What a capture hands over: activations of several prompts in one tensor a site, and which row is whose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from hooks.captured_attention import AttentionRows
from hooks.sites import Site


@dataclass(frozen=True)
class Kept:
    """One prompt of a pack: its whole text, the positions kept of it, and how many of its tokens were given.

    Tokens from `prompt_tokens` on were generated; the first of them is step 1.
    """

    index: int
    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    prompt_tokens: int

    @property
    def steps(self) -> tuple[int, ...]:
        """For each position kept, the generation step that wrote its token; 0 for the prompt's own."""
        return tuple(max(0, position - self.prompt_tokens + 1) for position in self.positions)


@dataclass(frozen=True)
class CapturedPrompt:
    """One prompt's share of a capture: `activations` by site, [pos …] in the plan's format, rows as `positions`."""

    index: int
    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    steps: tuple[int, ...]
    activations: dict[Site, Tensor]


@dataclass(frozen=True, eq=False)
class CapturedPack:
    """Prompts that were computed together: `activations` by site, [row …], the rows of `kept` one after another.

    `attention` has one entry a layer when the plan asks for it.
    """

    kept: tuple[Kept, ...]
    activations: dict[Site, Tensor]
    attention: tuple[AttentionRows, ...] = ()

    def prompts(self) -> Iterator[CapturedPrompt]:
        """The prompts apart, each with copies of its own rows."""
        at = 0
        for one in self.kept:
            rows = slice(at, at + len(one.positions))
            own = {site: values[rows].clone() for site, values in self.activations.items()}
            yield CapturedPrompt(one.index, one.token_ids, one.positions, one.steps, own)
            at = rows.stop
