"""The kinds of input, each in one place: how it is asked for, and what becomes of it for a model.

`ASKED` are the fields that a request may have; each is a command-line option, a value in a page's address, a key of a
batch file's `inputs`, and an argument of `Workbench.run`. `WAYS` are the ways of asking, each made of some of those
fields. What of resolved inputs makes one run another is said by `interp.keys`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from analyses._inputs import Inputs, Need
from data import prompt_sets
from data.prompt_sets import SetKind
from hooks.errors import InputError
from hooks.pairs import PromptPair
from hooks.tasks import TaskPrompt

if TYPE_CHECKING:
    from hooks.model import Model

SIDES = ("clean", "corrupted", "answer", "distractor")
"""The fields of a pair."""

WayName = Literal["prompt", "pair", "task", "set", "file"]


@dataclass(frozen=True)
class Field:
    """One field of a request.

    Attributes:
        about: the help of its option.
        type: of a value.
        many: whether it may be repeated.
        low: the least valid number.
        wanted: what to give instead of an empty text; "" for a field that is not text to be read.
    """

    about: str
    type: type = str
    many: bool = False
    low: int | None = None
    wanted: str = ""


_PIECE = "one token, its leading space included"
ASKED: dict[str, Field] = {
    "prompt": Field("one prompt", wanted="some text"),
    "clean": Field("the clean prompt of a pair", wanted="some text"),
    "corrupted": Field("the corrupted prompt, with equally many tokens", wanted="some text"),
    "answer": Field("the right answer: of a pair one token, with its leading space; of a task a name",
                    wanted=_PIECE),
    "distractor": Field("the token that is right for the corrupted prompt", wanted=_PIECE),
    "alias": Field("another name that counts as the answer of a task", many=True),
    "span": Field("a part of a task's prompt by its role: ROLE=TEXT", many=True),
    "set": Field("a shipped prompt set; `interp sets` lists them"),
    "limit": Field("entries to take from the set", int, low=1),
    "seed": Field("seed of the set", int),
    "file": Field("pairs, tasks or texts of your own: a JSON object a line, Parquet, or a text a line"),
}  # fmt: skip


@dataclass(frozen=True)
class Way:
    """One way of asking for inputs.

    Attributes:
        title: for a page.
        needs: what an analysis may need that is asked for in this way.
        fields: all it must have.
        extra: what it may have besides.
        resolve: what becomes of it for a model, of the fields given and the set kinds that will do.
    """

    title: str
    needs: frozenset[Need]
    fields: tuple[str, ...]
    extra: tuple[str, ...]
    resolve: Callable[[Mapping[str, Any], Model, Collection[SetKind]], Inputs]


def _prompt(given: Mapping[str, Any], _model: Model, _kinds: Collection[SetKind]) -> Inputs:
    text = given["prompt"]
    return Inputs(prompt=text, note="" if text.strip() else "the prompt is only white space")


def _pair(given: Mapping[str, Any], _model: Model, _kinds: Collection[SetKind]) -> Inputs:
    return Inputs(pairs=(PromptPair(**{side: given[side] for side in SIDES}),))


def _task(given: Mapping[str, Any], _model: Model, _kinds: Collection[SetKind]) -> Inputs:
    return Inputs(tasks=(task_of(given),))


def task_of(given: Mapping[str, Any]) -> TaskPrompt:
    """The one task that these fields are. Raises InputError for a span that is not ROLE=TEXT or not in the prompt."""
    spans = tuple(span(one) for one in given.get("span", ()))
    return TaskPrompt(given["prompt"], (given["answer"], *given.get("alias", ())), spans)


def _set(given: Mapping[str, Any], model: Model, _kinds: Collection[SetKind]) -> Inputs:
    return _of_set(prompt_sets.generate(given["set"], model, limit=given["limit"], seed=given["seed"]))


def _file(given: Mapping[str, Any], model: Model, kinds: Collection[SetKind]) -> Inputs:
    return _of_set(prompt_sets.load_file(given["file"], model, file_kind(given["file"], kinds)))


def _of_set(made: prompt_sets.PromptSet) -> Inputs:
    return Inputs(pairs=made.pairs, tasks=made.tasks, texts=made.texts, set_name=made.name, note=made.summary,
                  labels=made.labels, groups=made.groups)  # fmt: skip


_SEVERAL: frozenset[Need] = frozenset({"pair", "pairs", "tasks", "texts"})
WAYS: dict[WayName, Way] = {
    "prompt": Way("One prompt", frozenset({"prompt"}), ("prompt",), (), _prompt),
    "pair": Way("One pair", frozenset({"pair"}), SIDES, (), _pair),
    "task": Way("One task", frozenset({"tasks"}), ("prompt", "answer"), ("alias", "span"), _task),
    "set": Way("Prompt set", _SEVERAL, ("set",), ("limit", "seed"), _set),
    "file": Way("File", _SEVERAL, ("file",), (), _file),
}


def set_kinds(needs: Collection[Need]) -> tuple[SetKind, ...]:
    """Which kinds of set answer these needs."""
    by_need: dict[Need, SetKind] = {"pair": "pairs", "pairs": "pairs", "tasks": "tasks", "texts": "texts"}
    return tuple(dict.fromkeys(by_need[need] for need in needs if need in by_need))


def file_kind(file: str, kinds: Collection[SetKind]) -> SetKind:
    """How a file is to be read: as the only kind that will do, else as what its first line tells."""
    return next(iter(kinds)) if len(kinds) == 1 else prompt_sets.kind_of(file)


def way_of(given: Mapping[str, Any], needs: Collection[Need] = ()) -> WayName | None:
    """Which way of asking these fields are; None when nothing was given. `needs` settles what could be two.

    Raises:
        InputError: two ways at once.
    """
    begun = {name for name, value in given.items() if value is not None and value != () and value != []}
    pair = bool(begun & {"clean", "corrupted", "distractor"})
    task = bool(begun & {"alias", "span"}) or ("answer" in begun and not pair)
    if begun & set(SIDES) == {"answer"} and "prompt" not in begun and "tasks" not in needs:
        pair, task = True, False
    if "prompt" in begun and "tasks" in needs and "prompt" not in needs:
        task = not pair
    asked: dict[WayName, bool] = {
        "prompt": "prompt" in begun and not task, "pair": pair, "task": task, "set": bool(given.get("set")),
        "file": bool(given.get("file")),
    }  # fmt: skip
    ways = [way for way, found in asked.items() if found]
    if len(ways) > 1:
        raise InputError(f"{ONE_INPUT}; {' and '.join(ways)} were given")
    return ways[0] if ways else None


ONE_INPUT = (
    "give exactly one input: --prompt, or --clean with --corrupted, --answer and --distractor, or --prompt with "
    "--answer, or --set NAME, or --file FILE"
)


def span(given: str) -> tuple[str, str]:
    """(role, text) of ROLE=TEXT. Raises InputError for anything else."""
    role, equals, text = given.partition("=")
    if not equals or not role.strip() or not text.strip():
        raise InputError(f"span {given!r}: write ROLE=TEXT, for example subject=Kyoto")
    return role.strip(), text


def task_fields(task: TaskPrompt) -> dict[str, Any]:
    """The fields that ask for one task; its related questions, label and group have none."""
    spans = [f"{role}={text}" for role, text in task.spans]
    told = {"prompt": task.text, "answer": task.gold, "alias": list(task.answers[1:]), "span": spans}
    return {name: value for name, value in told.items() if value != []}


def in_words(asked: Mapping[str, Any]) -> str:
    """What was asked for, in a few words for a table."""
    if "set" in asked:
        return f"{asked['set']} × {asked.get('limit')}, seed {asked.get('seed', 0)}"
    return str(next((asked[name] for name in ("prompt", "clean", "file") if asked.get(name)), ""))
