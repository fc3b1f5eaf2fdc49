"""Inputs as they are asked for: a prompt, a pair, a shipped set, or a file of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyses._contract import Inputs
from data import prompt_sets
from hooks.errors import InputError
from hooks.pairs import PromptPair

if TYPE_CHECKING:
    from hooks.model import Model


@dataclass(frozen=True)
class Request:
    """What a user asked for, before a model has tokenised it; exactly one of the four kinds may be given."""

    prompt: str | None = None
    clean: str | None = None
    corrupted: str | None = None
    answer: str | None = None
    distractor: str | None = None
    set: str | None = None
    limit: int = 32
    seed: int = 0
    file: str | None = None

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Request:
        """Read the `inputs` of a batch file. Raises InputError naming unknown keys."""
        unknown = given.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise InputError(
                f"unknown input {', '.join(sorted(unknown))!r}; valid: {', '.join(cls.__dataclass_fields__)}"
            )
        return cls(**given)

    def resolve(self, model: Model) -> Inputs:
        """Turn the request into inputs. Raises InputError when it is incomplete or names two kinds at once."""
        pair = {side: getattr(self, side) for side in ("clean", "corrupted", "answer", "distractor")}
        kinds = [self.prompt is not None, any(v is not None for v in pair.values()), bool(self.set), bool(self.file)]
        if sum(kinds) != 1:
            raise InputError(
                "give exactly one input: --prompt, or --clean with --corrupted, --answer and --distractor, "
                "or --set NAME, or --file pairs.jsonl"
            )
        if self.prompt is not None:
            return Inputs(prompt=self.prompt)
        if self.set or self.file:
            return self._set(model)
        missing = [f"--{side}" for side, text in pair.items() if text is None]
        if missing:
            raise InputError(f"a pair needs {' and '.join(missing)} too")
        return Inputs(pairs=(PromptPair(**{side: str(text) for side, text in pair.items()}),))

    def _set(self, model: Model) -> Inputs:
        if self.set:
            made = prompt_sets.generate(self.set, model, limit=self.limit, seed=self.seed)
        else:
            made = prompt_sets.load_pairs_file(Path(str(self.file)), model)
        return Inputs(pairs=made.pairs, set_name=made.name, note=made.summary)

    def as_dict(self) -> dict[str, Any]:
        """Only what was given, as plain JSON."""
        kept = {k: v for k, v in vars(self).items() if v is not None}
        return kept if self.set else {k: v for k, v in kept.items() if k not in ("limit", "seed")}
