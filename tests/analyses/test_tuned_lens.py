"""The tuned lens and what all trained lenses share: identities, the split, keeping, resuming, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._contract import Context, Inputs
from analyses._trained_lenses.options import TRIALS
from analyses._trained_lenses.readout import Readout
from analyses._trained_lenses.texts import drawn_texts, given_texts, mark, split
from analyses._trained_lenses.training import Data, Schedule, fit, translator_of
from analyses._trained_lenses.translators import Affine, Translator
from analyses.tuned_lens import ANALYSIS, TunedSpec
from hooks.errors import InputError
from hooks.load import load
from hooks.model import Model
from tests.analyses.in_memory import Kept, one

TEXTS = Inputs(texts=tuple(TRIALS[0]["texts"]))
QUICK = {"steps": 6, "batch": 8, "length": 12}


def test_before_fitting_from_the_identity_it_is_the_logit_lens(any_tiny: Model) -> None:
    spec = TunedSpec(start="identity", **QUICK | {"steps": 0})
    frames = ANALYSIS.run(any_tiny, TEXTS, spec, Context())
    plain, tuned = (one(frames["texts"], lens=lens)["kl"].to_numpy() for lens in ("logit lens", "tuned lens"))
    assert np.allclose(plain, tuned, atol=1e-6)
    assert plain.min() > 0
    cells = frames["cells"]
    for column in ("top_id", "kl"):
        before, after = (one(cells, lens=lens)[column].to_numpy() for lens in ("logit lens", "tuned lens"))
        assert np.allclose(before, after, atol=1e-6)
    assert one(cells, lens="output")["kl"].max() < 1e-6


def test_the_divergence_is_that_of_the_models_own_distributions(any_tiny: Model) -> None:
    random = torch.Generator().manual_seed(0)
    states, finals = torch.randn(2, 5, any_tiny.geometry.d_model, generator=random)
    logits = [any_tiny.final_norm(one) @ any_tiny.W_U for one in (states, finals)]
    lens, told = (one if any_tiny.b_U is None else one + any_tiny.b_U for one in logits)
    expected = (told.softmax(-1) * (told.log_softmax(-1) - lens.log_softmax(-1))).sum(-1)
    readout = Readout.of(any_tiny)
    assert torch.allclose(readout.divergence(states, finals), expected, atol=1e-5)
    assert torch.allclose(readout.read(states, finals).kl, expected, atol=1e-4)  # type: ignore[arg-type]
    average = readout.average(finals)
    assert torch.allclose(average.exp(), told.softmax(-1).mean(0), atol=1e-7)
    kl, _same = readout.from_average(average, finals)
    assert torch.allclose(kl, (told.softmax(-1) * (told.log_softmax(-1) - average)).sum(-1), atol=1e-5)


def test_least_squares_finds_a_planted_map_and_the_plain_map_is_the_same() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(400, 6, generator=random) * torch.tensor([1.0, 300.0, 1.0, 0.01, 1.0, 1.0]) + 5.0
    planted = Affine(torch.randn(6, 4, generator=random), torch.randn(4, generator=random))
    aims = planted(torch.zeros(400, 4), x)
    found = Translator(x, torch.zeros(400, 4), aims)
    assert torch.equal(found.plain().weight, torch.zeros(6, 4))
    found.to_least_squares(1e-9)
    base = torch.randn(400, 4, generator=random)
    assert torch.allclose(found(base, x), base + aims, rtol=1e-4, atol=1e-2)
    assert torch.allclose(found.plain()(base, x), found(base, x), rtol=1e-4, atol=1e-2)


def test_fitting_finds_a_planted_translation_that_the_plain_reading_lacks(tiny: Model) -> None:
    """States that are the last ones after an affine change: a fit from the identity undoes much of it."""
    random = torch.Generator().manual_seed(0)
    finals = torch.randn(300, tiny.geometry.d_model, generator=random)
    x = finals @ torch.linalg.qr(torch.randn(32, 32, generator=random)).Q + 0.5
    rows = torch.arange(300)
    data = Data(x, x, finals, rows, rows[:200], rows[200:250], rows[250:])
    readout = Readout.of(tiny)
    lens, curve = fit(translator_of(data), data, readout.divergence, Schedule(150, 32, 0.03, 0), Context(), "layer 0")
    base, test, aims = data.at(data.tested)
    before, after = (float(readout.divergence(one, aims).mean()) for one in (base, lens(base, test)))
    assert after < 0.35 * before
    assert curve["checked"].iloc[-1] < curve["checked"].iloc[0]
    assert curve["step"].tolist()[::8] == [0, 150]


def test_the_best_checked_step_is_kept_not_the_last(tiny: Model) -> None:
    """Started where it should end, with a rate that is far too large: every step makes it worse."""
    random = torch.Generator().manual_seed(0)
    finals = torch.randn(120, tiny.geometry.d_model, generator=random)
    rows = torch.arange(120)
    data = Data(finals, finals, finals, rows, rows[:80], rows[80:100], rows[100:])
    readout = Readout.of(tiny)
    lens, curve = fit(translator_of(data), data, readout.divergence, Schedule(8, 16, 1.0, 0), Context(), "layer 0")
    assert curve["checked"].iloc[-1] > curve["checked"].iloc[0] + 0.1
    base, x, aims = data.at(data.checked)
    assert float(readout.divergence(lens(base, x), aims).mean()) == pytest.approx(curve["checked"].min(), abs=1e-5)
    assert not lens.weight.any(), "the start is what is kept"


def test_texts_of_one_group_are_on_one_side_of_the_split(tiny: Model) -> None:
    count = len(TEXTS.texts)
    words = tuple(f"{text} {end}" for text in TEXTS.texts for end in ("and", "to", "in"))
    grouped = Inputs(texts=words, groups=tuple(f"document {place // 3}" for place in range(3 * count)))
    texts = split(given_texts(tiny, grouped, 24), 0.25, 1)
    parts = [{place // 3 for place in part} for part in (texts.fitted, texts.checked, texts.tested)]
    assert all(parts)
    assert sum(map(len, parts)) == count == len(set().union(*parts)), "no document is in two parts"
    assert sum(map(len, (texts.fitted, texts.checked, texts.tested))) == 3 * count
    few = Inputs(texts=words, groups=tuple(f"document {place % 4}" for place in range(3 * count)))
    with pytest.raises(InputError, match="4 groups of"):
        split(given_texts(tiny, few, 24), 0.25, 1)


def test_texts_are_split_whole_and_equal_ones_count_once(tiny: Model) -> None:
    doubled = Inputs(texts=(*TEXTS.texts, *TEXTS.texts[:3], "a"), labels=("p", "q") * 6)
    texts = split(given_texts(tiny, doubled, 12), 0.25, 3)
    assert len(texts.ids) == len(TEXTS.texts)
    parts = [set(part) for part in (texts.fitted, texts.checked, texts.tested)]
    assert all(parts)
    assert set.union(*parts) == set(range(len(texts.ids)))
    assert sum(map(len, parts)) == len(texts.ids)
    assert split(given_texts(tiny, doubled, 12), 0.25, 3) == texts
    assert {texts.kinds[place] for place in texts.tested} == {"p", "q"}


def test_a_kept_lens_reads_as_it_did_when_it_was_fitted(tiny: Model) -> None:
    kept = Kept()
    fitted = ANALYSIS.run(tiny, TEXTS, TunedSpec(keep_as="mine", **QUICK), kept.context())
    texts = split(given_texts(tiny, TEXTS, 12), 0.25, 0)
    tested = Inputs(texts=tuple(TEXTS.texts[place] for place in texts.tested))
    read = ANALYSIS.run(tiny, tested, TunedSpec(lens="mine", length=12), kept.using("mine"))
    for lens in ("tuned lens", "logit lens", "no state"):
        before, after = (one(frames["scores"], lens=lens)["kl"].to_numpy() for frames in (fitted, read))
        assert np.allclose(before, after, atol=1e-5), lens
    assert read["about"]["seen"].iloc[0] == 0
    assert len(read["curves"]) == 0
    again = ANALYSIS.run(tiny, TEXTS, TunedSpec(lens="mine", length=12), kept.using("mine"))
    assert again["about"]["seen"].iloc[0] == len(TEXTS.texts) - len(texts.tested)
    assert "no test" in ANALYSIS.figures(again, TunedSpec(lens="mine"))["kl"].layout.meta["notes"][0]
    assert mark(range(40)) == mark(range(16)) != mark(range(15))
    prompt = ANALYSIS.run(
        tiny, Inputs(prompt="Mary saw the park"), TunedSpec(lens="mine", layers=(1,)), kept.using("mine")
    )
    assert set(prompt["scores"]["layer"]) == {1}
    assert prompt["scores"]["kl_low"].isna().all()


def test_an_interrupted_run_goes_on_with_the_layers_that_it_has(tiny: Model) -> None:
    spec = TunedSpec(layers=(0, 1), **QUICK)
    whole = ANALYSIS.run(tiny, TEXTS, spec, Context())
    kept, told = Kept(), []

    def stop(_share: float, words: str) -> None:
        told.append(words)
        if words.startswith("layer 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ANALYSIS.run(tiny, TEXTS, spec, kept.context(progress=stop))
    assert set(kept.states) == {"layer 0"}
    assert kept.shown[0][0] == "layer 0"
    told.clear()
    resumed = ANALYSIS.run(tiny, TEXTS, spec, kept.context(progress=lambda _share, words: told.append(words)))
    assert not any(words.startswith("layer 0, step") for words in told)
    for name in whole:
        pd.testing.assert_frame_equal(resumed[name], whole[name])


def test_texts_drawn_from_the_model_are_as_long_as_asked_and_the_same_twice(tiny: Model) -> None:
    first, again = (drawn_texts(tiny, 9, 11, 5, lambda *_: None) for _ in range(2))
    assert first == again
    assert {len(ids) for ids in first.ids} == {11}
    assert drawn_texts(tiny, 9, 11, 6, lambda *_: None) != first


def test_bad_input_is_refused_by_name(tiny: Model, models_folder: Path) -> None:
    def refused(
        match: str, inputs: Inputs = TEXTS, context: Context | None = None, model: Model = tiny, **spec: Any
    ) -> None:
        with pytest.raises(InputError, match=match):
            ANALYSIS.run(model, inputs, TunedSpec(**QUICK | spec), context or Context())

    refused("5 different texts", Inputs(texts=TEXTS.texts[:5]))
    refused("tokens to fit a lens on are too few", Inputs(texts=tuple(f"the {a} saw {a}" for a in
            ("park", "book", "city", "farm", "bank", "river"))))  # fmt: skip
    refused("layers 0 to 1 can; the last layer's output is the model's own", layers=(2,))
    refused("leave one of them out", lens="x", keep_as="y")
    refused("tokens to fit a lens on are too few", Inputs(prompt="the park"), drawn=8, held=0.8)
    refused("use lower-case letters", keep_as="No Name")
    kept = Kept()
    ANALYSIS.run(tiny, TEXTS, TunedSpec(keep_as="mine", layers=(0,), **QUICK), kept.context())
    refused("no translator for layer 1: it has 0", lens="mine", layers=(1,), context=kept.using("mine"))
    token = tiny.str_tokens(tiny.encode("park")[:1])[0]
    refused("give at least two", Inputs(prompt=token), lens="mine", context=kept.using("mine"))
    other = load("toy:gpt2", models_folder)
    words = "fitted on a model of name 'toy:random'.*the loaded one has name 'toy:gpt2'"
    refused(words, lens="mine", context=kept.using("mine"), model=other)
    mine = kept.artifacts["mine"]
    packed = {**mine.meta["model"], "quantisation": "8 bits"}
    kept.artifacts["packed"] = replace(mine, meta=mine.meta | {"model": packed})
    refused("fitted on a model of quantisation '8 bits'", lens="packed", context=kept.using("packed"))
    for name, theirs in (("older", {"name": "toy:random"}), ("unknown", {"name": "toy:random", "revision": ""})):
        kept.artifacts[name] = replace(mine, meta=mine.meta | {"model": theirs})
        ANALYSIS.run(tiny, TEXTS, TunedSpec(lens=name, **QUICK), kept.using(name))
    kept.artifacts["first"] = replace(mine, meta=mine.meta | {"model": "toy:gpt2", "revision": "r"})
    refused("fitted on a model of name 'toy:gpt2', revision 'r'", lens="first", context=kept.using("first"))
    mine.tensors["weight-0"][0, 0] = float("nan")
    refused("not finite at 0", lens="mine", context=kept.using("mine"))
    poisoned = load("toy:random", models_folder)
    poisoned.W_O(1)[0, 0, 0] = float("nan")
    refused("holds numbers that are not finite", model=poisoned)
