"""Inputs as they are asked for: a prompt, a pair, a task, a shipped set, or a file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyses._contract import Analysis, Inputs, Need
from data import prompt_sets
from hooks.errors import InputError, unknown
from interp.input_kinds import ASKED, ONE_INPUT, WAYS, Field, WayName, file_kind, set_kinds, task_of, way_of

if TYPE_CHECKING:
    from hooks.model import Model


class AnyLength:
    """A model's tokenizer without the limit of what the model reads at once: for analyses that take texts in pieces."""

    def __init__(self, model: Model) -> None:
        self._all_ids, self.str_tokens, self.single_token = model.all_ids, model.str_tokens, model.single_token
        self.tokenizer = model.tokenizer

    def encode(self, text: str) -> list[int]:
        """Token ids; nothing is added or trimmed. Raises InputError for an empty text."""
        ids = self._all_ids(text)
        if not ids:
            raise InputError("the text is empty: give at least one token of text")
        return ids


@dataclass(frozen=True)
class Request:
    """What a user asked for, before a model has tokenised it; exactly one of `WAYS`, in the fields of `ASKED`."""

    prompt: str | None = None
    clean: str | None = None
    corrupted: str | None = None
    answer: str | None = None
    distractor: str | None = None
    set: str | None = None
    limit: int = 32
    seed: int = 0
    file: str | None = None
    alias: tuple[str, ...] = ()
    span: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Request:
        """Read the `inputs` of a batch file; None is the same as nothing. Raises InputError naming unknown keys."""
        for name in given:
            if name not in ASKED:
                raise unknown("input", name, ASKED)
        return cls(**{name: _read(name, ASKED[name], value) for name, value in given.items() if value is not None})

    def check(self, analysis: Analysis | None = None) -> None:
        """Refuse what can be told without a model: nothing or two kinds asked for, half a pair, an empty text, a set or
        file that is not there, or a kind that `analysis` does not read. Raises InputError."""
        needs = analysis.needs if analysis else ()
        way = self._way(analysis)
        chosen, given = WAYS[way], self._given
        if missing := [f"--{name}" for name in chosen.fields if given[name] is None]:
            raise InputError(f"a {way} needs {' and '.join(missing)} too")
        for name in chosen.fields:
            if (wanted := "some text" if way == "task" else ASKED[name].wanted) and not given[name]:
                raise InputError(f"the {name} is empty: give {wanted} (--{name})")
        if way == "task":
            task_of(given)
        elif way == "set":
            prompt_sets.describe(str(self.set))
            prompt_sets.check_limit(self.limit)
        elif way == "file":
            _refuse_missing(str(self.file))
        if analysis is not None and not set(needs) & self._answers(way, needs):
            self._refuse(analysis, way)

    def resolve(self, model: Model, analysis: Analysis | None = None) -> Inputs:
        """Turn the request into inputs; what `analysis` needs says how to read what could be read in several ways.

        Raises:
            InputError: as `check` does, for a set or file of which the model can take nothing, and for a task whose
                span is not in its prompt.
        """
        self.check(analysis)
        kinds = set_kinds(analysis.needs if analysis else ())
        reader: Any = AnyLength(model) if analysis is not None and analysis.by_text else model
        return WAYS[self._way(analysis)].resolve(self._given, reader, kinds)

    @property
    def _given(self) -> dict[str, Any]:
        return dict(vars(self))

    def _way(self, analysis: Analysis | None) -> WayName:
        way = way_of(self._given, analysis.needs if analysis else ())
        if way is None:
            if analysis is not None:
                analysis.accept(Inputs())
            raise InputError(f"{ONE_INPUT}; none was given")
        return way

    def _answers(self, way: WayName, needs: Collection[Need]) -> frozenset[Need]:
        """Which needs the request may answer. How many pairs a set or file gives is told by the model's tokenizer."""
        if way not in ("set", "file"):
            return WAYS[way].needs
        kinds = set_kinds(needs)
        held = prompt_sets.describe(str(self.set)).kind if way == "set" else None
        if way == "file" and kinds:
            held = file_kind(str(self.file), kinds)
        return frozenset(need for need in WAYS[way].needs if set_kinds([need]) == (held,))

    def _refuse(self, analysis: Analysis, way: WayName) -> None:
        """Raise what `accept` raises, and say what was given instead where that is not plain to see."""
        try:
            analysis.accept(Inputs())
        except InputError as error:
            if way == "set":
                kind = prompt_sets.describe(str(self.set)).kind
                raise InputError(f"{error}; {self.set} is a set of {kind}") from None
            if way == "task":
                raise InputError(f"{error}; --prompt with --answer, --alias or --span is a task") from None
            raise

    def as_dict(self) -> dict[str, Any]:
        """Only what was given, as plain JSON."""
        kept = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items() if v not in (None, ())}
        return kept if self.set else {k: v for k, v in kept.items() if k not in ("limit", "seed")}


def _refuse_missing(file: str) -> None:
    if not Path(file).is_file():
        found = "is not a file" if Path(file).exists() else "there is no such file"
        raise InputError(f"--file {file}: {found}; give a file with a JSON object a line, or a text a line")


def _read(name: str, field: Field, value: Any) -> Any:
    """A value of a request as its type; one text counts as a list of one. Raises InputError naming input and value."""
    if field.many:
        many = [value] if isinstance(value, str) else value
        if isinstance(many, list | tuple) and all(isinstance(one, str) for one in many):
            return tuple(many)
        raise InputError(f"input {name} = {value!r} must be a text or a list of texts")
    if not isinstance(value, field.type) or isinstance(value, bool):
        kind = "a whole number" if field.type is int else "text"
        raise InputError(f"input {name} = {value!r} must be {kind}")
    return value
