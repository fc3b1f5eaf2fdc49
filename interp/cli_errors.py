"""What a command line got wrong, in one line: the word, the nearest that would be right, and the valid ones."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import click

from hooks.errors import InputError, said, unknown


class OneOf(click.Choice[str]):
    """A choice among a few words that offers the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word itself. Raises InputError naming option, word and what is valid."""
        if value not in self.choices:
            raise unknown(f"value of {_flag(param)}", value, self.choices)
        return str(value)


class Whole(click.ParamType[int]):
    """A whole number, at least `low` and at most `high` where they are given."""

    name = "n"

    def __init__(self, low: int | None = None, high: int | None = None) -> None:
        self._low, self._high = low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number. Raises InputError naming option, word and bounds."""
        low, high = self._low, self._high
        try:
            number = int(value)
        except ValueError:
            number = None
        if number is None or (low is not None and number < low) or (high is not None and number > high):
            bounds = f" from {low}" * (low is not None) + f" to {high}" * (high is not None)
            raise InputError(f"{_flag(param)} {str(value)!r}: give a whole number{bounds}")
        return number


def _flag(param: click.Parameter | None) -> str:
    return "the option" if param is None else str(param.opts[0])


def one_line(error: click.ClickException) -> str:
    """A parse error of click in one line."""
    context: click.Context | None = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption) and context is not None:
        return f"{context.command_path}: {unknown('option', error.option_name, _flags(context))}"
    group = None if context is None else context.command
    if isinstance(error, click.NoSuchCommand) and context is not None and isinstance(group, click.Group):
        return str(unknown("command", error.command_name, group.list_commands(context)))
    words = " ".join(error.format_message().split())
    helps = f"; {context.command_path} --help says more" if context is not None else ""
    return words[0].lower() + words[1:].rstrip(".") + helps


def _flags(context: click.Context) -> list[str]:
    shown = [option for option in context.command.get_params(context) if not getattr(option, "hidden", False)]
    return [flag for option in shown for flag in (*option.opts, *option.secondary_opts) if flag.startswith("--")]


def fail(error: BaseException, code: int) -> None:
    """Print one line on stderr, and the traceback above it when it was asked for; end with `code`."""
    bad_input = isinstance(error, InputError | OSError | click.ClickException)
    if os.environ.get("INTERP_TRACEBACK"):
        traceback.print_exception(error)
    line = one_line(error) if isinstance(error, click.ClickException) else said(error)
    click.echo(f"error: {line}{'' if bad_input else ' (--traceback shows where)'}", err=True)
    sys.exit(code)


def _ask_traceback(_context: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked:
        os.environ["INTERP_TRACEBACK"] = "1"


TRACEBACK_OPTION = click.Option(
    ["--traceback"], is_flag=True, is_eager=True, expose_value=False, callback=_ask_traceback,
    help="show the whole traceback of an error",
)  # fmt: skip
