"""The future lens: what is aimed at is what the model writes that far ahead, and the counts beside it are counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._contract import Context, Inputs
from analyses._trained_lenses.options import TRIALS
from analyses._trained_lenses.readout import Readout
from analyses._trained_lenses.rows import read_rows
from analyses._trained_lenses.texts import given_texts, split
from analyses.future_lens import ANALYSIS, FutureSpec
from analyses.future_lens.baselines import baseline_rows, counted
from analyses.future_lens.computing import rows_ahead
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.model import Model
from hooks.sites import Site
from tests.analyses.in_memory import Kept, one

TEXTS = Inputs(texts=tuple(TRIALS[0]["texts"]))
QUICK: dict[str, Any] = {"steps": 3, "batch": 8, "length": 8, "new": 12, "ahead": 3}


def test_the_aim_is_what_the_model_writes_that_far_ahead(any_tiny: Model) -> None:
    spec = FutureSpec(**QUICK)
    texts = split(given_texts(any_tiny, TEXTS, spec.length), spec.held, 0, spec.states)
    rows = read_rows(any_tiny, texts.ids, [Site(0, "resid_post")], lambda *_: None, spec.new)
    chosen = rows_ahead(rows, texts, range(len(texts.ids)), spec)
    readout = Readout.of(any_tiny)
    for offset in range(1, spec.ahead + 1):
        aims = rows.finals.roll(1 - offset, dims=0)[chosen]
        told = readout.read(aims, aims).top_ids[:, 0]
        inside = rows.position[chosen] + offset < len(texts.ids[0]) + spec.new
        assert inside.sum() > len(chosen) // 2
        assert torch.equal(told[inside], rows.token[(chosen + offset).clamp_max(len(rows.token) - 1)][inside])
        assert torch.equal(rows.text[chosen + offset - 1], rows.text[chosen])
    whole = rows.token[rows.text == 0]
    last = Site(any_tiny.geometry.n_layers - 1, "resid_post")
    cache = run_with_cache(any_tiny, whole[None], [last])
    assert torch.allclose(rows.finals[rows.text == 0], cache[last][0], atol=1e-4)


def test_given_texts_are_read_from_their_second_token_to_where_all_offsets_fit(tiny: Model) -> None:
    spec = FutureSpec(**QUICK | {"continuation": "given", "length": 12})
    texts = given_texts(tiny, TEXTS, 12)
    rows = read_rows(tiny, texts.ids, [Site(0, "resid_post")], lambda *_: None)
    chosen = rows_ahead(rows, texts, [1], spec)
    assert rows.position[chosen].tolist() == list(range(1, len(texts.ids[1]) - 2))


def test_counts_take_the_most_frequent_target_and_the_lower_id_of_equals() -> None:
    unigram, bigram = counted([1, 1, 1, 2, 2], [7, 7, 5, 9, 8])
    assert unigram == 7
    assert bigram == {1: 7, 2: 8}


def test_counts_are_of_what_the_model_writes_that_far_ahead(tiny: Model) -> None:
    """By hand: the target of a row is what the model finds most likely after the row `offset - 1` further on."""
    spec = FutureSpec(**QUICK)
    texts = split(given_texts(tiny, TEXTS, spec.length), spec.held, 0, spec.states)
    rows = read_rows(tiny, texts.ids, [Site(0, "resid_post")], lambda *_: None, spec.new)
    readout = Readout.of(tiny)
    likely = readout.read(rows.finals, rows.finals).top_ids[:, 0].tolist()
    fitted, tested = (rows_ahead(rows, texts, one, spec).tolist() for one in (texts.fitted, texts.tested))
    found = baseline_rows(readout, rows, torch.tensor(fitted), torch.tensor(tested), spec.ahead)
    for offset in range(1, spec.ahead + 1):
        common, after = counted([int(rows.token[row]) for row in fitted], [likely[row + offset - 1] for row in fitted])
        guesses = {"unigram": [common] * len(tested),
                   "bigram": [after.get(int(rows.token[row]), common) for row in tested]}  # fmt: skip
        targets = [likely[row + offset - 1] for row in tested]
        for name, said in guesses.items():
            hits = pd.Series(np.equal(said, targets).astype(float))
            wanted = hits.groupby([int(rows.text[row]) for row in tested]).mean()
            mine = one(found, lens=name, offset=offset).set_index("text")["precision"]
            assert mine.to_dict() == pytest.approx(wanted.to_dict())
    told = found.groupby(["lens", "offset"])["precision"].mean()
    assert told["bigram"].nunique() > 1, "offsets differ here, so that one taken for another is seen"


def test_precision_is_the_share_of_tokens_that_are_named(tiny: Model) -> None:
    """The last layer at offset 1, started at the identity and not fitted, is the model itself."""
    spec = FutureSpec(**QUICK | {"start": "identity", "steps": 0, "layers": (0, 2)})
    frames = ANALYSIS.run(tiny, TEXTS, spec, Context())
    own = one(frames["scores"], lens="future lens", layer=2, offset=1).iloc[0]
    assert own["precision"] == 1.0
    assert own["kl"] < 1e-5
    later = one(frames["scores"], lens="future lens", layer=2, offset=3).iloc[0]
    assert later["precision"] < 1.0
    bigram = one(frames["texts"], lens="bigram", offset=3).set_index("text")["precision"]
    lens = one(frames["texts"], lens="future lens", layer=2, offset=3).set_index("text")["precision"]
    assert later["gain"] == pytest.approx(float((lens - bigram).mean()))
    ahead = one(frames["ahead"], layer=2, offset=1).iloc[0]
    assert ahead["top_id"] == ahead["written_id"]
    assert set(frames["scores"]["lens"]) == {"future lens", "embedding", "bigram", "unigram"}


def test_a_kept_lens_reads_as_it_did_when_it_was_fitted(tiny: Model) -> None:
    for start in ("least_squares", "identity"):
        kept, settings = Kept(), QUICK | {"start": start, "layers": (1,)}
        fitted = ANALYSIS.run(tiny, TEXTS, FutureSpec(keep_as="mine", **settings), kept.context())
        texts = split(given_texts(tiny, TEXTS, QUICK["length"]), 0.25, 0, FutureSpec(**QUICK).states)
        tested = Inputs(texts=tuple(TEXTS.texts[place] for place in texts.tested))
        read = ANALYSIS.run(tiny, tested, FutureSpec(lens="mine", **settings), kept.using("mine"))
        before, after = (one(frames["scores"], lens="future lens") for frames in (fitted, read))
        assert np.allclose(before["kl"], after["kl"], atol=1e-4), start
        assert before["precision"].tolist() == after["precision"].tolist()
        assert read["about"]["seen"].iloc[0] == 0
        assert tuple(ANALYSIS.figures(read, FutureSpec(lens="mine"))) == ("precision", "ahead")


def test_bad_input_is_refused_by_name(tiny: Model) -> None:
    kept = Kept()
    ANALYSIS.run(tiny, TEXTS, FutureSpec(keep_as="mine", **QUICK | {"ahead": 2}), kept.context())
    prompt = Inputs(prompt="Mary saw the park")
    with pytest.raises(InputError, match="looks at most 2 tokens ahead"):
        ANALYSIS.run(tiny, prompt, FutureSpec(lens="mine", **QUICK), kept.using("mine"))
    with pytest.raises(InputError, match="reads at most 256"):
        ANALYSIS.check(tiny, TEXTS, FutureSpec(length=240))
    with pytest.raises(InputError, match="at least as many as are looked ahead"):
        ANALYSIS.check(tiny, TEXTS, FutureSpec(**QUICK | {"new": 4, "ahead": 6, "length": 12}))
    short = Inputs(
        texts=tuple(
            f"the {a} saw the {b}"
            for a in ("park", "book", "city", "farm")
            for b in ("bank", "river", "house", "school")
        )
    )
    with pytest.raises(InputError, match="0 tokens to fit a lens on are too few"):
        ANALYSIS.run(tiny, short, FutureSpec(continuation="given", length=8, ahead=8), Context())
