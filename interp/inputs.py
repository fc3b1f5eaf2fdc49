"""Inputs as they are asked for: a prompt, a pair, a shipped set, or a file of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyses._contract import Analysis, Inputs
from data import prompt_sets
from hooks.errors import InputError
from hooks.pairs import PromptPair

if TYPE_CHECKING:
    from hooks.model import Model

SIDES = ("clean", "corrupted", "answer", "distractor")
_NUMBERS = ("limit", "seed")


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
        for name, value in given.items():
            wanted: type = int if name in _NUMBERS else str
            if value is not None and (not isinstance(value, wanted) or isinstance(value, bool)):
                kind = "a whole number" if wanted is int else "text"
                raise InputError(f"input {name} = {value!r} must be {kind}")
        return cls(**given)

    def check(self, analysis: Analysis | None = None) -> None:
        """Refuse what can be told without a model: nothing or two kinds asked for, half a pair, an empty text, a set or
        file that is not there, or a kind that `analysis` does not read. Raises InputError."""
        kind = self._kind(analysis)
        if kind == "prompt":
            _refuse_empty("prompt", self.prompt)
        elif kind == "pair":
            missing = [f"--{side}" for side in SIDES if getattr(self, side) is None]
            if missing:
                raise InputError(f"a pair needs {' and '.join(missing)} too")
            for side in SIDES:
                _refuse_empty(side, getattr(self, side))
        elif kind == "set":
            prompt_sets.describe(str(self.set))
            if self.limit < 1:
                raise InputError(f"limit {self.limit}: a prompt set gives 1 pair or more")
        elif not Path(str(self.file)).is_file():
            found = "is not a file" if Path(str(self.file)).exists() else "there is no such file"
            raise InputError(f"--file {self.file}: {found}; give a file with a JSON object a line")
        if analysis is not None:
            self._fits(analysis, kind)

    def resolve(self, model: Model) -> Inputs:
        """Turn the request into inputs. Raises InputError as `check` does, and for a set of which nothing aligns."""
        self.check()
        if self.prompt is not None:
            return Inputs(prompt=self.prompt, note="" if self.prompt.strip() else "the prompt is only white space")
        if self.set or self.file:
            return self._set(model)
        return Inputs(pairs=(self._pair(),))

    def _kind(self, analysis: Analysis | None) -> str:
        pair = any(getattr(self, side) is not None for side in SIDES)
        asked = {"prompt": self.prompt is not None, "pair": pair, "set": bool(self.set), "file": bool(self.file)}
        kinds = [kind for kind, given in asked.items() if given]
        if len(kinds) == 1:
            return kinds[0]
        if not kinds and analysis is not None:
            analysis.accept(Inputs())
        said = f"{' and '.join(kinds)} were given" if kinds else "none was given"
        raise InputError(
            "give exactly one input: --prompt, or --clean with --corrupted, --answer and --distractor, "
            f"or --set NAME, or --file pairs.jsonl; {said}"
        )

    def _fits(self, analysis: Analysis, kind: str) -> None:
        if kind == "prompt":
            analysis.accept(Inputs(prompt=self.prompt))
        elif kind == "pair":
            analysis.accept(Inputs(pairs=(self._pair(),)))
        elif not {"pair", "pairs"} & set(analysis.needs):
            # How many pairs a set or file gives is told by the model's tokenizer.
            analysis.accept(Inputs())

    def _pair(self) -> PromptPair:
        return PromptPair(**{side: str(getattr(self, side)) for side in SIDES})

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


def _refuse_empty(name: str, text: str | None) -> None:
    if not text:
        wanted = "one token, its leading space included" if name in ("answer", "distractor") else "some text"
        raise InputError(f"the {name} is empty: give {wanted} (--{name})")
