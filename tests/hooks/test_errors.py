"""Errors in one line for people, without the words of Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hooks.errors import InputError, reason, said


def caught(work: object) -> BaseException:
    with pytest.raises(Exception) as found:
        work()  # type: ignore[operator]
    return found.value


def test_errors_of_the_system_give_file_and_reason(tmp_path: Path) -> None:
    missing = tmp_path / "nothing"
    error = caught(missing.read_text)
    assert reason(error) == "no such file or directory"
    assert said(error) == f"{missing}: no such file or directory"
    assert reason(OSError("only words")) == "only words"


def test_text_and_json_say_where(tmp_path: Path) -> None:
    assert reason(caught(lambda: b"ab\xff".decode("utf-8"))) == "not UTF-8 text: byte 2 is 0xff"
    assert reason(caught(lambda: json.loads(""))) == "not JSON at column 1: expecting value"
    assert reason(caught(lambda: json.loads("[1,\n x]"))) == "not JSON at line 2, column 2: expecting value"


def test_input_errors_speak_for_themselves_and_others_name_their_kind() -> None:
    assert said(InputError("layer 30\n does not exist")) == "layer 30 does not exist"
    assert said(ZeroDivisionError("by zero")) == "ZeroDivisionError: by zero"
