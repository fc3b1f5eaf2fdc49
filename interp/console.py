"""What the commands share: progress on stderr, tables and JSON on stdout, options for models and inputs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from copy import copy
from typing import Any

import click
import pandas as pd

from interp.cli_errors import OneOf, Whole
from interp.runs import records

MODEL_OPTIONS = (
    click.Option(
        ["--model"], default="smollm2-135m", show_default=True, help="name, toy:NAME, folder, GGUF file or hub id"
    ),
    click.Option(
        ["--dtype"],
        default="float32",
        show_default=True,
        type=OneOf(["float32", "bfloat16", "float16"]),
        help="number format of the weights",
    ),
    click.Option(["--device"], default="cpu", show_default=True, help="torch device"),
)
INPUT_OPTIONS = (
    click.Option(["--prompt"], help="one prompt"),
    click.Option(["--clean"], help="the clean prompt of a pair"),
    click.Option(["--corrupted"], help="the corrupted prompt, with equally many tokens"),
    click.Option(["--answer"], help="the token that is right for the clean prompt, with its leading space"),
    click.Option(["--distractor"], help="the token that is right for the corrupted prompt"),
    click.Option(["--set"], help="a shipped prompt set; `interp sets` lists them"),
    click.Option(["--limit"], type=Whole(1), default=32, show_default=True, help="pairs to take from the set"),
    click.Option(["--seed"], type=Whole(), default=0, show_default=True, help="seed of the set"),
    click.Option(["--file"], help="pairs of your own: a JSON object a line with clean, corrupted, answer, distractor"),
)
_NEEDED_FOR = {
    "prompt": {"prompt"}, "clean": {"pair"}, "corrupted": {"pair"}, "answer": {"pair"}, "distractor": {"pair"},
    **{name: {"pair", "pairs"} for name in ("set", "limit", "seed", "file")},
}  # fmt: skip


def input_options(needs: Iterable[str]) -> list[click.Option]:
    """The input options of an analysis; those it has no use for are not listed, but refused in words."""
    options = []
    for option in INPUT_OPTIONS:
        told = copy(option)
        told.hidden = not _NEEDED_FOR[str(option.name)] & set(needs)
        options.append(told)
    return options


JSON_OPTION = click.Option(["--json", "as_json"], is_flag=True, help="print JSON")


def with_options(*options: click.Option) -> Callable[[click.Command], click.Command]:
    """Add ready-made options to a command."""

    def add(command: click.Command) -> click.Command:
        command.params = [*command.params, *options]
        return command

    return add


class Reporter:
    """A progress callback for people: one rewritten line on a terminal, a line every few seconds elsewhere."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet, self._last, self._terminal = quiet, 0.0, sys.stderr.isatty()

    def __call__(self, fraction: float, label: str) -> None:
        wait = 0.1 if self._terminal else 5.0
        if self._quiet or (time.monotonic() - self._last < wait and fraction < 1):
            return
        self._last = time.monotonic()
        line = f"{fraction:4.0%} {label}"
        sys.stderr.write(f"\r\x1b[2K{line}" if self._terminal else f"{line}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Leave the line."""
        if self._terminal and self._last:
            sys.stderr.write("\r\x1b[2K")


def say(data: Any, as_json: bool) -> None:
    """Print a frame as a table, or anything as JSON."""
    if as_json:
        plain = records(data) if isinstance(data, pd.DataFrame) else data
        click.echo(json.dumps(plain, ensure_ascii=False, allow_nan=False, default=str))
    elif isinstance(data, pd.DataFrame):
        click.echo(data.to_string(index=False, max_colwidth=60) if len(data) else "nothing yet")
    else:
        click.echo(data)
