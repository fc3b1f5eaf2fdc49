"""Information flow: contributions by hand, parts that make their wholes, shares that sum to 1, routes known before."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, tensor

from analyses._contract import Context, Frames, Inputs
from analyses.information_flow import ANALYSIS, FlowSpec, contributions, reading
from analyses.information_flow.contributions import EPSILON, attended, cut, proximity, shares
from analyses.information_flow.reading import Block, blocks
from hooks.errors import InputError
from hooks.load import load
from hooks.model import Model

PROMPT = "When John and Mary went to the store, John gave a drink to"
TINY = "the cat sat on the mat"


def frames(model: Model, prompt: str = TINY, **spec: object) -> Frames:
    return ANALYSIS.conform(ANALYSIS.run(model, Inputs(prompt=prompt), FlowSpec.model_validate(spec), Context()))


def vector(*numbers: float) -> Tensor:
    return tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize(
    ("whole", "parts", "expected"),
    [
        ((3, 1), [(3, 0), (0, 1)], (0.75, 0.25)),  # ‖y‖ = 4, left without the parts: 1 and 3
        ((2, 2), [(2, 2)], (1.0,)),
        ((2, 0), [(3, 0), (-1, 0)], (1.0, 0.0)),  # the second points away: its proximity is ε
        ((2, 0), [(1, 1), (1, -1)], (0.5, 0.5)),  # 2 − ‖(1, ∓1)‖ = 0 for both: ε and ε
        ((4, 0), [(2, 0), (2, 0), (0, 0)], (0.5, 0.5, 0.0)),
        ((1, -3), [(1, -1), (0, -2)], (0.5, 0.5)),
        ((3, 0), [(6, 0), (1, 0)], (0.0, 1.0)),  # twice too large: as far from the whole as nothing is
    ],
)
def test_shares_of_vectors_in_the_plane_as_reckoned_by_hand(
    whole: tuple[float, ...], parts: list[tuple[float, ...]], expected: tuple[float, ...]
) -> None:
    found = shares(vector(*whole), torch.stack([vector(*part) for part in parts]))
    np.testing.assert_allclose(found, expected, atol=2 * EPSILON)
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-12)


def test_parts_of_nothing_change_the_others_only_through_epsilon() -> None:
    whole, parts = vector(5, -2, 1), torch.stack([vector(4, -2, 0), vector(1, 0, 1)])
    more = torch.cat([parts, torch.zeros(10, 3, dtype=torch.float64)])
    np.testing.assert_allclose(shares(whole, more)[:2], shares(whole, parts), rtol=11 * EPSILON)


def test_the_threshold_cuts_single_parts_and_the_others_sum_to_one() -> None:
    share = tensor([[0.03, 0.03, 0.24, 0.7], [0.04, 0.03, 0.02, 0.01]])
    np.testing.assert_allclose(cut(share, 0.04), [[0, 0, 0.24 / 0.94, 0.7 / 0.94], [0, 0, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(cut(share, 0.0)[0], share[0], rtol=1e-6)


def test_parts_of_attention_are_compared_in_pieces_and_no_weight_is_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = torch.Generator().manual_seed(0)
    whole, values = torch.randn(5, 7, generator=noise), torch.randn(3, 6, 7, generator=noise)
    weights = torch.rand(3, 5, 6, generator=noise)
    weights[:, 2, 4:] = 0
    parts = weights.transpose(0, 1)[..., None] * values
    expected = torch.where(weights.transpose(0, 1) != 0, proximity(whole[:, None, None], parts), 0.0)
    for budget in (1, 100, 10**6):
        monkeypatch.setattr(contributions, "BUDGET", budget)
        np.testing.assert_allclose(attended(whole, weights, lambda head: values[head]), expected, atol=1e-6)


def parts_of(block: Block) -> Tensor:
    """[head dst key d_model]: what every head brings from every key."""
    values = torch.stack([block.written(head) for head in range(block.model.geometry.n_heads)])
    return block.pattern[..., None] * values[:, None]


def test_the_parts_and_the_biases_make_the_wholes(any_tiny: Model) -> None:
    for block in blocks(any_tiny, any_tiny.tokens(TINY)):
        b_O, b_out = any_tiny.b_O(block.layer), any_tiny.b_out(block.layer)
        attention = parts_of(block).sum(dim=(0, 2)) + (0 if b_O is None else b_O)
        mlp = block.ffn() + (0 if b_out is None else b_out)
        if block.middle is None:
            np.testing.assert_allclose(block.before + attention + mlp, block.after, atol=1e-4)
        else:
            np.testing.assert_allclose(block.before + attention, block.middle, atol=1e-4)
            np.testing.assert_allclose(block.middle + mlp, block.after, atol=1e-4)


def test_shares_into_attention_are_those_of_all_parts_together(any_tiny: Model) -> None:
    found = frames(any_tiny, renormalise=False, threshold=0.0)
    last = any_tiny.geometry.n_layers - 1
    block = next(iter(blocks(any_tiny, any_tiny.tokens(TINY))))
    place = int(found["prediction"]["position"].iloc[0])
    whole, name = (block.after, "R") if block.middle is None else (block.middle, "A")
    parts = [block.before[place], *([block.ffn()[place]] if block.middle is None else [])]
    heads = parts_of(block)[:, place, : place + 1].flatten(0, 1)
    expected = shares(whole[place].double(), torch.stack([*parts, *heads]).double())
    into = found["edges"][found["edges"]["target"] == f"{name}{last}.{place}"].set_index(["kind", "source_position"])
    by_key = expected[len(parts) :].reshape(any_tiny.geometry.n_heads, -1).sum(dim=0)
    assert into.loc[("residual", place), "weight"] == pytest.approx(float(expected[0]), rel=1e-3)
    np.testing.assert_allclose(into.loc["attention", "weight"].sort_index(), by_key, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("threshold", [0.0, 0.03])
def test_what_runs_into_a_node_sums_to_one_and_what_leaves_the_tokens_too(any_tiny: Model, threshold: float) -> None:
    found = frames(any_tiny, threshold=threshold)
    assert found["prediction"]["ended"].iloc[0] == 0
    edges = found["edges"]
    into = edges[~edges["target"].str.startswith("F")].groupby("target")["weight"].sum()
    np.testing.assert_allclose(into, 1.0, atol=1e-5)
    assert found["tokens"]["flow"].sum() == pytest.approx(1.0, abs=1e-4)
    assert set(edges["target"]) | set(edges["source"]) == set(found["nodes"]["node"])
    assert found["heads"]["share"].min() > threshold, "single heads are cut, not their sum"
    by_edge = found["heads"].groupby(["source", "target"])["share"].sum()
    attention = edges[edges["kind"] == "attention"].set_index(["source", "target"])["weight"]
    np.testing.assert_allclose(by_edge.loc[attention.index], attention, atol=1e-6)


def test_routes_shrink_as_the_threshold_rises(any_tiny: Model) -> None:
    before: set[tuple[str, str, str]] | None = None
    for threshold in (0.0, 0.02, 0.05, 0.1, 0.3):
        edges = frames(any_tiny, threshold=threshold, renormalise=False)["edges"]
        now = set(edges[["source", "target", "kind"]].itertuples(index=False, name=None))
        assert before is None or now < before or now == before
        assert edges["weight"].min() > threshold
        before = now
    assert before is not None
    assert len(before) < 20


def test_a_node_without_any_part_above_the_threshold_is_counted(tiny: Model) -> None:
    found = frames(tiny, threshold=0.9)
    assert found["prediction"]["ended"].iloc[0] == 1
    assert found["tokens"]["flow"].sum() == 0
    assert all(figure.data for figure in ANALYSIS.figures(found, FlowSpec()).values())


def test_layers_read_one_by_one_give_the_same(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frames(tiny)
    monkeypatch.setattr(reading, "HELD_BYTES", 1)
    for name, frame in frames(tiny).items():
        pd.testing.assert_frame_equal(frame, whole[name])


def test_an_earlier_token_is_explained_as_if_the_prompt_ended_there(tiny: Model) -> None:
    ids = tiny.encode(TINY)
    shorter = str(tiny.tokenizer.decode(ids[:4], clean_up_tokenization_spaces=False))
    assert tiny.encode(shorter) == ids[:4]
    for place in (3, 3 - len(ids)):
        pd.testing.assert_frame_equal(frames(tiny, token=place)["edges"], frames(tiny, shorter)["edges"])


def test_the_induction_toy_reads_the_token_after_the_one_before(models_folder: object) -> None:
    model = load("toy:induction", models_folder)  # type: ignore[arg-type]
    text = str(model.tokenizer.decode([10, 20, 30, 40, 50, 60, 70, 80, 10, 20, 30], clean_up_tokenization_spaces=False))
    found = frames(model, text)
    assert found["prediction"]["token_id"].iloc[0] == 40
    attention = found["edges"][found["edges"]["kind"] == "attention"].sort_values("weight")
    copied = attention[attention["target"] == "A1.10"].iloc[-1]
    assert copied["source"] == "R0.3", "the last token reads the token that came after it before"
    before = attention[(attention["target"] == "A0.3") & (attention["source"] != "E3")].iloc[-1]
    assert before["source"] == "E2", "which has read the token before it"
    assert "attention L0 to 3, attention L1 to 10" in found["tokens"]["path"].tolist()


@pytest.mark.real
def test_the_name_is_read_where_it_stands(real: Model) -> None:
    found = frames(real, PROMPT, neurons=0)
    tokens = found["tokens"].set_index("token")["flow"]
    assert found["prediction"]["token"].iloc[0] == " Mary"
    assert tokens[" Mary"] > 0.4
    assert tokens[" Mary"] == tokens.max()
    edges = found["edges"][(found["edges"]["kind"] == "attention") & (found["edges"]["target_position"] == 13)]
    assert edges.sort_values("weight").iloc[-1][["source", "target"]].tolist() == ["R22.3", "A23.13"]
    assert ANALYSIS.act is not None
    name, options = ANALYSIS.act(found, FlowSpec(), "A23.13")  # type: ignore[misc]
    assert (name, options["answer"], options["layers"]) == ("component_ablation", "Mary", [23])
    glued = {**found, "prediction": found["prediction"].assign(token="Mary")}
    assert ANALYSIS.act(glued, FlowSpec(), "A23.13") is None, "a task's answer follows a space"
    name, options = ANALYSIS.act(found, FlowSpec(), "R22.3")  # type: ignore[misc]
    assert name == "attention_knockout"
    assert (options["sources"], options["layers"], "answer" in options) == (["3"], [23], False)


def test_bad_input_is_refused(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    length = len(tiny.encode(TINY))
    for place in (length, -length - 1):
        with pytest.raises(InputError, match=rf"token = {place}: positions are 0 to {length - 1}"):
            ANALYSIS.check(tiny, Inputs(prompt=TINY), FlowSpec(token=place))
    monkeypatch.setattr(reading, "MOST_BYTES", 4 * tiny.geometry.n_heads * 9)
    with pytest.raises(InputError, match=f"has {length} tokens; .* of 3 tokens at most"):
        ANALYSIS.check(tiny, Inputs(prompt=TINY), FlowSpec())
    ANALYSIS.check(tiny, Inputs(prompt=TINY), FlowSpec(token=2))
