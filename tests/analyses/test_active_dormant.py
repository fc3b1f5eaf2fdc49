"""Active and dormant heads: parking is a one-hot pattern, idle heads cost nothing, tables by hand, refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._contract import Context, Inputs
from analyses.active_dormant import ANALYSIS, DormantSpec, check, run
from analyses.active_dormant.computing import SUNK, Masses, losses, masses, parked
from analyses.active_dormant.tables import chosen_heads, differences_table, heads_table, losses_table, verdict_table
from analyses.attention_sinks.finding import Sinks, SinkSpec, Text, read_texts
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.interventions import ReplacePattern
from hooks.losses import next_token_log_probs
from hooks.model import Model
from hooks.sites import Site
from hooks.taps import hooked, tap
from tests.analyses.test_attention_sinks import planted

TEXT = "When John and Mary went to the store, John gave a drink to Mary and the red book to Anna"
TRIAL = Inputs.from_dict(ANALYSIS.trial)  # type: ignore[arg-type]
SPEC = DormantSpec.model_validate(ANALYSIS.trial["spec"])  # type: ignore[call-overload]


@pytest.mark.parametrize("sink", [0, 3])
def test_a_parked_head_is_a_one_hot_pattern(any_tiny: Model, sink: int) -> None:
    ids, site = any_tiny.tokens(TEXT), Site(1, "pattern", 1)
    total = ids.shape[1]
    cache = run_with_cache(any_tiny, ids, [site, Site(1, "v")])
    pattern = cache[site].clone()
    pattern[:, sink:] = 0
    pattern[:, sink:, sink] = 1
    wanted = next_token_log_probs(any_tiny, ids, [ReplacePattern(site, pattern)])
    found = next_token_log_probs(any_tiny, ids, [parked(any_tiny, (1, 1), sink, total, cache[Site(1, "v")][0])])
    assert torch.allclose(found, wanted, atol=1e-5)


def test_a_head_that_looks_at_its_sink_alone_loses_nothing_when_set_to_it(tiny: Model) -> None:
    (text,) = read_texts(tiny, Inputs(prompt=TEXT), SinkSpec())
    edits = planted(tiny, 2, text.total)
    taps = [lambda one=one: tap(tiny.module, tiny.anatomy, tiny.geometry, one.site.whole, one.edited) for one in edits]
    layers = range(tiny.geometry.n_layers)
    with hooked(taps):
        one = masses(tiny, text, layers, SinkSpec())
        table = losses(tiny, one, [(0, 0), (2, 1)], layers, lambda *_: None)
    assert one.sinks.positions == (2,)
    assert (one.most == 2).all()
    sunk = table[table["edit"] == SUNK]
    assert (sunk["edited"] - sunk["plain"]).abs().max() < 1e-5
    assert (table["edited"] - table["plain"]).abs().max() > 1e-5, "its value is not zero, so zeroing it is something"


def test_zeroing_a_head_that_writes_nothing_changes_nothing(tiny: Model) -> None:
    (text,) = read_texts(tiny, Inputs(prompt=TEXT), SinkSpec())
    layers = range(tiny.geometry.n_layers)
    one = masses(tiny, text, layers, SinkSpec())
    silence = [lambda: tap(tiny.module, tiny.anatomy, tiny.geometry, Site(1, "v"), torch.zeros_like)]
    with hooked(silence):
        table = losses(tiny, one, [(1, 0)], layers, lambda *_: None)
    assert (table["edited"] - table["plain"]).abs().max() < 1e-6


def test_differences_by_hand() -> None:
    numbers = np.zeros((5, 1, 2))
    numbers[:, 0, 0] = [0.2, 0.9, 0.4, 0.7, 0.3]
    labels = ["a", "b", "a", "b", "a"]
    table = differences_table(numbers, labels, [4], "a").set_index("head")
    assert table.loc[0, "difference"] == pytest.approx(0.5)
    assert table["texts"].tolist() == [2, 2], "the third text of a has nothing to be set against"
    assert not table["discovered"].any()
    heads = heads_table(numbers, labels, [4], 0.5)
    assert heads["domain"].tolist() == ["a", "a", "b", "b"]
    assert heads["mean"].tolist() == pytest.approx([0.3, 0, 0.8, 0])
    assert heads["dormant"].tolist() == [False, False, True, False]
    chosen = chosen_heads(table.reset_index(), DormantSpec(top=1))
    assert chosen == [(4, 0)]
    assert chosen_heads(table.reset_index(), DormantSpec(heads=("L4H1",))) == [(4, 1)]


def many(difference: float) -> tuple[np.ndarray, list[str]]:
    draw = np.random.default_rng(1)
    numbers = 0.5 + 0.05 * draw.standard_normal((40, 2, 3))
    numbers[20:, 1, 2] += difference
    return numbers, ["a"] * 20 + ["b"] * 20


def read_of(count: int) -> list[Masses]:
    text = Text(0, torch.zeros(1, 3, dtype=torch.long), "")
    return [Masses(text, Sinks((0,), place > 0, (1, 0, 0)), torch.zeros(1), torch.zeros(1)) for place in range(count)]


def test_a_head_that_differs_is_found_and_said() -> None:
    for difference, found in ((0.3, [(1, 2)]), (0.0, [])):
        numbers, labels = many(difference)
        table = differences_table(numbers, labels, [0, 1], "a")
        told = table[table["discovered"]]
        assert list(zip(told["layer"], told["head"], strict=True)) == found
        heads = heads_table(numbers, labels, [0, 1], 0.65)
        verdict = verdict_table(heads, table, read_of(3), 0.65).iloc[0]
        assert verdict["different"] == len(found)
        assert verdict["switching"] == len(found)
        assert verdict["without_sink"] == 1
        words = "differs by domain in 1 of 6 heads; largest: L1H2, b − a, +0.3" if found else "none of 6 heads differs"
        assert words in verdict["statement"]


def test_losses_by_hand() -> None:
    raw = pd.DataFrame([
        {"layer": 0, "head": 1, "edit": "zeroed", "domain": domain, "plain": 2.0, "edited": 2.0 + change}
        for domain, changes in (("a", [0.1, 0.3]), ("b", [0.0] * 8), ("c", [0.5 + 0.01 * n for n in range(8)]))
        for change in changes
    ])  # fmt: skip
    table = losses_table(raw).set_index("domain")
    assert table["change"].tolist() == pytest.approx([0.2, 0.0, 0.535])
    assert table["discovered"].tolist() == [False, False, True]
    assert table["texts"].tolist() == [2, 8, 8]


def test_it_runs_and_says_that_texts_are_too_few(tiny: Model) -> None:
    frames = run(tiny, TRIAL, SPEC, Context())
    assert set(frames["losses"]["domain"]) == {"prose", "code"}
    assert len(frames["losses"]) == 4
    statement = frames["verdict"]["statement"].iloc[0]
    assert "2 texts a domain are too few" in statement
    drawn = ANALYSIS.figures(frames, SPEC)
    assert tuple(drawn) == ("matrix", "differences", "zeroed", "sunk")
    assert statement in drawn["matrix"].layout.meta["notes"][0]
    alone = SPEC.model_copy(update={"top": 0})
    bare = run(tiny, TRIAL, alone, Context())
    assert not len(bare["losses"])
    assert tuple(ANALYSIS.figures(bare, alone)) == ("matrix", "differences")


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        ((), {}, "texts need a label each"),
        (("a", "", "b", "b"), {}, "texts need a label each"),
        (("a",) * 4, {}, "all 4 texts are labelled 'a'"),
        (("a", "a", "a", "b"), {}, "domain 'b' has one text"),
        (("a", "a", "b", "b"), {"reference": "c"}, "option reference"),
        (("a", "a", "b", "b"), {"domain": "c"}, "option domain"),
        (("a", "a", "b", "b"), {"heads": ("3",)}, "name a head by layer and number"),
        (("a", "a", "b", "b"), {"heads": ("L9H0",)}, "head L9H0 is not among those compared: layers 0 to 2"),
        (("a", "a", "b", "b"), {"heads": ("L1H0",), "layers": (0, 2)}, "layers 0, 2, heads"),
        (("a", "a", "b", "b"), {"queries": 50}, "a sink is judged by 50 later queries"),
    ],
)
def test_bad_input_is_refused(tiny: Model, labels: tuple[str, ...], options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check(tiny, Inputs(texts=TRIAL.texts, labels=labels), DormantSpec.model_validate({"queries": 2} | options))


def test_a_head_switches_only_where_its_intervals_do() -> None:
    """Means on both sides of the dormant mass are not enough: the intervals have to be."""
    numbers, labels = many(0.3)
    table = differences_table(numbers, labels, [0, 1], "a")
    for noise, switching in ((0.0, 1), (3.0, 0)):
        loud = numbers + noise * np.random.default_rng(2).standard_normal(len(numbers))[:, None, None]
        loud[:20, 1, 2] += 0.5 - loud[:20, 1, 2].mean()
        loud[20:, 1, 2] += 0.8 - loud[20:, 1, 2].mean()
        heads = heads_table(loud, labels, [0, 1], 0.65)
        means = heads[(heads["layer"] == 1) & (heads["head"] == 2)]["mean"]
        assert means.min() < 0.65 < means.max()
        assert verdict_table(heads[(heads["layer"] == 1) & (heads["head"] == 2)], table, read_of(3), 0.65).iloc[0][
            "switching"] == switching  # fmt: skip
