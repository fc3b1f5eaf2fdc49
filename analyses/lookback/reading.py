"""What lookback's analyses read: prompts with their context, answers that are written or given, and their ratios."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field

from analyses._answers import answered
from analyses._contract import Spec
from analyses._stats import Floats
from hooks.decoding import end_of_text
from hooks.errors import InputError, about
from hooks.lookback import Choose, Region, Writing, following, likeliest, write
from hooks.progress import Progress, silent
from hooks.tasks import TaskPrompt, locate

if TYPE_CHECKING:
    from hooks.model import Model

RESPONSE, WRONG = "response", "wrong"
"""Roles of spans that a user labelled: what was said, and the parts of it that are not grounded (wrong, wrong 2 …)."""
Before = Literal["context", "left out"]


class ContextSpec(Spec):
    """Options that say what the context is."""

    span_role: str = Field("context", min_length=1, description="the tasks' span that is the context")
    before: Before = Field(
        "context",
        description="keys before the context: part of it, as Lookback Lens has it, or left out, which leaves out a "
        "sink at the first token",
    )


@dataclass(frozen=True, eq=False)
class Item:
    """A prompt with its context, as token ids; for a response that is given, its ids and which of them are wrong.

    `text` is the task's, with the response; `asked` ends before it.
    """

    number: int
    prompt: tuple[int, ...]
    region: Region
    text: str
    answers: tuple[str, ...] = ()
    kind: str = ""
    group: str = ""
    given: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()
    asked: str = ""

    @property
    def cluster(self) -> str:
        """What the item shares with those it is not independent of: its group, else its own text (by digest)."""
        return self.group or f"text {hashlib.sha256(self.text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, eq=False)
class Reading:
    """An item's answer and what was read at the queries that predict its tokens.

    Attributes:
        tokens: ids [token].
        ratios: [token layer head].
        log_probs, entropy: [token], nats.
        states: [token chosen_layer d_model].
        right: [token] bool; of an answer that was written, all or none.
        said: the answer's text.
    """

    item: Item
    tokens: list[int]
    ratios: Floats
    log_probs: Floats
    entropy: Floats
    states: Floats
    right: tuple[bool, ...]
    said: str


def item_of(model: Model, task: TaskPrompt, number: int, spec: ContextSpec) -> Item:
    """A task's tokens and context. Raises InputError for a span that is absent, splits a token, or leaves no room."""
    with about(f"task {number}"):
        return _item_of(model, task, number, spec)


def _item_of(model: Model, task: TaskPrompt, number: int, spec: ContextSpec) -> Item:
    ids = tuple(model.encode(task.text))
    spans = dict(task.spans)
    places = locate(model, task.text, task.span(spec.span_role))
    given: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()
    prompt, asked = ids, task.text
    if RESPONSE in spans:
        inside = locate(model, task.text, spans[RESPONSE], "last")
        bad = {place for role, part in spans.items() if role.split()[0] == WRONG
               for place in locate(model, task.text, part, "last")}  # fmt: skip
        if outside := bad - set(inside):
            raise InputError(f"token {min(outside)} is labelled {WRONG} but is not in the {RESPONSE}")
        asked = task.text[: task.text.rindex(spans[RESPONSE].strip())]
        prompt, given = ids[: inside[0]], ids[inside[0] : inside[-1] + 1]
        wrong = tuple(place - inside[0] for place in sorted(bad))
    region = Region(0 if spec.before == "context" else places[0], places[-1] + 1)
    region.check(len(prompt))
    return Item(number, prompt, region, task.text, task.answers, task.label, task.group,
                given, wrong, asked)  # fmt: skip


def prompt_item(model: Model, prompt: str, context: str, spec: ContextSpec) -> Item:
    """One prompt with its context given as text. Raises InputError as `item_of` does."""
    if not context.strip():
        raise InputError("a prompt needs its context: give the part of it that is looked back at (--context)")
    ids, places = tuple(model.encode(prompt)), locate(model, prompt, context)
    region = Region(0 if spec.before == "context" else places[0], places[-1] + 1)
    region.check(len(ids))
    return Item(0, ids, region, prompt)


def refuse_long(model: Model, items: Sequence[Item], new: int) -> None:
    """Raise InputError for the first item that with its answer, or `new` tokens, is longer than the model reads."""
    for item in items:
        told = f"its answer of {len(item.given)}" if len(item.given) > new else f"{new} new ones"
        if len(item.prompt) + max(new, len(item.given)) > model.geometry.n_ctx:
            raise InputError(
                f"task {item.number} has {len(item.prompt)} tokens; with {told} that is more than the "
                f"{model.geometry.n_ctx} that {model.identity.name} reads"
            )


def items_of(model: Model, tasks: Sequence[TaskPrompt], spec: ContextSpec) -> list[Item]:
    """Every task's item, numbered from 0."""
    return [item_of(model, task, number, spec) for number, task in enumerate(tasks)]


def text_end(model: Model) -> Callable[[int], bool]:
    """Whether a token ends the text."""
    return end_of_text(model).__contains__


def drawing(temperature: float, top_p: float, generator: torch.Generator) -> Choose:
    """Draw from the fewest likeliest tokens that hold `top_p` of the probability at a `temperature` above 0."""

    def choose(logits: torch.Tensor) -> torch.Tensor:
        chances, order = (logits / temperature).softmax(dim=-1).sort(dim=-1, descending=True)
        # The token that crosses top_p is still in.
        chances = chances.masked_fill(chances.cumsum(dim=-1) - chances >= top_p, 0.0)
        return order.gather(1, torch.multinomial(chances, 1, generator=generator))[:, 0]

    return choose


def read_item(
    model: Model, item: Item, new: int, ends: Callable[[int], bool], layers: Sequence[int] = (),
    progress: Progress = silent, choose: Choose = likeliest,
) -> Reading:  # fmt: skip
    """Write an item's answer, greedily unless told, or read the given one; label its tokens. It may have no token."""
    writing = Writing(model, torch.tensor([item.prompt]), item.region, layers)
    if item.given:
        found = write(writing, len(item.given), choose=following(item.given), progress=progress)
    else:
        found = write(writing, new, choose=choose, ends=ends, progress=progress)
    tokens = [int(one) for one in found.tokens[0]]
    said = str(model.tokenizer.decode(tokens, clean_up_tokenization_spaces=False)) if tokens else ""
    if item.given:
        right = tuple(place not in item.wrong for place in range(len(tokens)))
    else:
        right = (bool(item.answers) and answered(said, item.answers, whole_words=True),) * len(tokens)
    parts = (found.ratios, found.log_probs, found.entropy, found.states)
    ratios, log_probs, entropy, states = (one[0].double().numpy() for one in parts)
    return Reading(item, tokens, ratios, log_probs, entropy, states, right, said)
