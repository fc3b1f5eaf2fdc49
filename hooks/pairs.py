"""Clean/corrupted prompt pairs and their token-by-token alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hooks.errors import InputError


class Tokenises(Protocol):
    """What alignment needs of a model: its tokenizer's three questions."""

    def encode(self, text: str) -> list[int]: ...
    def str_tokens(self, ids: list[int]) -> list[str]: ...
    def single_token(self, text: str) -> int: ...


@dataclass(frozen=True)
class PromptPair:
    """Two prompts that differ where the answer is decided: `answer` is right for clean, `distractor` for corrupted."""

    clean: str
    corrupted: str
    answer: str
    distractor: str
    label: str = ""


@dataclass(frozen=True)
class AlignedPair:
    """A pair with equally many tokens on both sides and one-token answers."""

    pair: PromptPair
    clean_ids: tuple[int, ...]
    corrupted_ids: tuple[int, ...]
    answer_id: int
    distractor_id: int

    @property
    def differing(self) -> tuple[int, ...]:
        """Positions at which the two prompts hold different tokens."""
        return tuple(i for i, (a, b) in enumerate(zip(self.clean_ids, self.corrupted_ids, strict=True)) if a != b)


def align(model: Tokenises, pair: PromptPair) -> AlignedPair:
    """Tokenise both prompts and refuse, never trim, what does not line up.

    Raises:
        InputError: unequal token counts (naming where the prompts part), identical prompts, an answer of several
            tokens, or the same token as answer and distractor.
    """
    clean, corrupted = model.encode(pair.clean), model.encode(pair.corrupted)
    if len(clean) != len(corrupted):
        raise InputError(_length_message(model, clean, corrupted))
    if clean == corrupted:
        raise InputError(f"clean and corrupted are the same prompt, {pair.clean!r}: there is nothing to patch")
    answer, distractor = model.single_token(pair.answer), model.single_token(pair.distractor)
    if answer == distractor:
        raise InputError(f"answer {pair.answer!r} and distractor {pair.distractor!r} are the same token; give two")
    return AlignedPair(pair, tuple(clean), tuple(corrupted), answer, distractor)


def _length_message(model: Tokenises, clean: list[int], corrupted: list[int]) -> str:
    parts = next(
        (i for i, (a, b) in enumerate(zip(clean, corrupted, strict=False)) if a != b), min(len(clean), len(corrupted))
    )
    around = [" | ".join(model.str_tokens(ids[max(0, parts - 1) : parts + 4])) for ids in (clean, corrupted)]
    return (
        f"clean has {len(clean)} tokens and corrupted {len(corrupted)}: they part at token {parts} "
        f"(clean: {around[0]!r}; corrupted: {around[1]!r}); rewrite one so that both have equally many tokens"
    )
