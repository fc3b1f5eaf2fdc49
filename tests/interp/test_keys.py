"""Run keys hold everything of the inputs that a run can read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analyses._contract import Inputs
from analyses._registry import get
from hooks.errors import InputError
from hooks.model import Model
from interp.keys import beside_tokens, run_key
from tests.interp.lengths import LengthSpec
from tests.interp.test_input_kinds import TASK, needing
from tests.pairs import OTHER, PAIR

CHANGED: dict[str, Inputs] = {
    "label": Inputs(tasks=(replace(TASK, label="town"),)),
    "group": Inputs(tasks=(replace(TASK, group="b"),)),
    "gold": Inputs(tasks=(replace(TASK, answers=("Kyoto", "Tōkyō")),)),
    "alias": Inputs(tasks=(replace(TASK, answers=("Tokyo",)),)),
    "span": Inputs(tasks=(replace(TASK, spans=(("object", "Kyoto"),)),)),
    "related": Inputs(tasks=(replace(TASK, related=()),)),
    "set": Inputs(tasks=(TASK,), set_name="two_hop"),
}


@pytest.mark.parametrize("change", CHANGED)
def test_everything_that_a_run_can_read_is_in_its_key(tiny: Model, change: str) -> None:
    analysis, spec = needing("tasks"), LengthSpec()
    key = run_key(analysis, tiny, Inputs(tasks=(TASK,)), spec)
    assert run_key(analysis, tiny, CHANGED[change], spec) != key
    assert run_key(analysis, tiny, Inputs(tasks=(TASK,), note="a remark"), spec) == key


def test_labels_of_pairs_are_in_the_key_and_plain_inputs_are_their_tokens_alone(tiny: Model) -> None:
    analysis, spec = needing("pair"), LengthSpec()
    keys = {run_key(analysis, tiny, Inputs(pairs=(replace(PAIR, label=label),)), spec) for label in ("", "a", "b")}
    assert len(keys) == 3
    assert beside_tokens(tiny, Inputs(pairs=(PAIR, OTHER))) == {}
    assert beside_tokens(tiny, Inputs(prompt="Größe 東京 😀")) == {}


def test_a_text_that_its_tokens_do_not_spell_is_in_the_key_too(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tiny.encode
    monkeypatch.setattr(tiny, "encode", lambda text: whole(text.lower()))
    analysis, spec = needing("texts"), LengthSpec()
    keys = {run_key(analysis, tiny, Inputs(texts=(text,)), spec) for text in ("the red book", "The red book")}
    assert len(keys) == 2


def test_analyses_that_read_text_as_text_are_keyed_by_it(tiny: Model) -> None:
    """Their texts may be longer than the model reads at once; labels still count."""
    lab = get("backcopy_lab")
    long = "the red book " * 5000
    first = run_key(lab, tiny, Inputs(texts=(long,)), lab.spec())
    assert first == run_key(lab, tiny, Inputs(texts=(long,)), lab.spec())
    assert first != run_key(lab, tiny, Inputs(texts=(long + "x",)), lab.spec())
    assert first != run_key(lab, tiny, Inputs(texts=(long,), labels=("a",)), lab.spec())
    assert first != run_key(lab, tiny, Inputs(texts=(long,), groups=("a",)), lab.spec())
    probes, texts = get("probes"), ("the red book", "the cat")
    keys = {run_key(probes, tiny, Inputs(texts=texts, groups=one), probes.spec()) for one in ((), ("a", "b"))}
    assert len(keys) == 2
    with pytest.raises(InputError, match="reads at most"):
        run_key(get("head_atlas"), tiny, Inputs(texts=(long,)), get("head_atlas").spec())
