"""Attention statistics of a text, against the written-out patterns of the same prompt."""

from __future__ import annotations

import numpy as np
import pytest

from analyses._attention_streamed import bin_edges
from analyses._contract import Context, Frames, Inputs
from analyses._registry import get
from hooks.errors import InputError
from hooks.model import Model

PROMPT = "When John and Mary went to the store, John gave a drink to"
ANALYSIS = get("attention_statistics")


def run(model: Model, prompt: str = PROMPT, **options: object) -> Frames:
    spec = ANALYSIS.spec.model_validate(options)
    return ANALYSIS.conform(ANALYSIS.run(model, Inputs(prompt=prompt), spec, Context()))


def test_equal_to_attention_patterns(tiny: Model) -> None:
    other = get("attention_patterns")
    wanted = other.run(tiny, Inputs(prompt=PROMPT), other.spec(), Context())["heads"]
    found = run(tiny)["heads"]
    for name in ("layer", "head", "key_value_head", "entropy", "sink_mass", "mean_distance"):
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-5, rtol=1e-5, err_msg=name)


def test_bins_average_to_the_same_means(tiny: Model) -> None:
    length = len(tiny.encode(PROMPT))
    each, binned = run(tiny, bins=1024)["along"], run(tiny, bins=5)["along"]
    assert len(each) == tiny.geometry.n_layers * tiny.geometry.n_heads * length
    assert binned.groupby(["layer", "head"]).size().unique().tolist() == [5]
    for row in binned.itertuples():
        inside = each[(each["layer"] == row.layer) & (each["head"] == row.head)]
        inside = inside[inside["first"].between(row.first, row.last)]
        assert row.entropy == pytest.approx(inside["entropy"].mean(), abs=1e-6)
        assert row.recent_mass == pytest.approx(inside["recent_mass"].mean(), abs=1e-6)


def test_bins_cover_the_text_once() -> None:
    for length, bins in ((2, 1), (7, 3), (1000, 128), (5, 1024)):
        edges = bin_edges(length, bins)
        assert edges[0] == 0
        assert edges[-1] == length
        assert len(edges) - 1 == min(bins, length)
        assert np.ptp(np.diff(edges)) <= 1


def test_all_keys_share_the_whole_attention(tiny: Model) -> None:
    frames = run(tiny, keys=256)
    shares = frames["keys"].groupby(["layer", "head"])["share"]
    np.testing.assert_allclose(shares.sum(), 1.0, atol=1e-5)
    assert (shares.diff().dropna() <= 0).all()
    assert "keys" not in ANALYSIS.figures(run(tiny, keys=0), ANALYSIS.spec(keys=0))


def test_a_wide_window_is_all_recent_and_a_wide_sink_is_all_sink(tiny: Model) -> None:
    length = len(tiny.encode(PROMPT))
    heads = run(tiny, window=length, sink=length - 1)["heads"]
    np.testing.assert_allclose(heads["recent_mass"], 1.0, atol=1e-5)
    assert (heads["sink_mass"] < 1.0).all()
    assert (run(tiny)["heads"]["sink_mass"] < heads["sink_mass"]).all()


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("", {}, "the prompt is empty"),
        ("When", {}, "the prompt has one token"),
        (PROMPT, {"sink": 500}, "sink is 500 tokens and the prompt has"),
        (PROMPT, {"layers": [7]}, "layer 7 does not exist: valid layers are 0 to 2"),
    ],
)
def test_refusals(tiny: Model, prompt: str, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(tiny, prompt, **options)


@pytest.mark.parametrize(("options", "message"), [({"layer": 9}, "layer 9 was not read"), ({"head": 99}, "head 99")])
def test_figures_name_what_is_not_there(tiny: Model, options: dict, message: str) -> None:
    frames = run(tiny)
    with pytest.raises(InputError, match=message):
        ANALYSIS.figures(frames, ANALYSIS.spec.model_validate(options))


def test_the_real_model_has_its_sink(real: Model) -> None:
    heads = run(real)["heads"].set_index(["layer", "head"])
    assert heads.loc[(18, 8), "sink_mass"] > 0.9
    assert heads.loc[(0, 0), "sink_mass"] < 0.2
