"""Outlier channels: moments against direct sums, planted outliers found, victims by hand, ablations, refusals.

More than 200 lines: the planted channels and the reading of all texts serve nearly every test here.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
import torch
from torch import Tensor

from analyses._activations import activations, read_texts
from analyses._contract import Context, Inputs
from analyses.outlier_channels import ANALYSIS, OutlierSpec, check, run
from analyses.outlier_channels.ablating import SetChannels, means_without, positions
from analyses.outlier_channels.changes import ablation_table, contrasts_table
from analyses.outlier_channels.choosing import drawn, outliers, reading_norms, victims
from analyses.outlier_channels.reading import Reading, channel_kurtosis, kurtosis, read
from hooks.errors import InputError
from hooks.losses import next_token_log_probs
from hooks.model import Model
from hooks.progress import silent
from hooks.sites import Site
from hooks.taps import Handle, hooked, tap

TEXTS = ("When John and Mary went to the store", "the red book on the table and a cat", "a cat sat there on the mat")
RULE = OutlierSpec(queries=2, threshold=0.1)


def reading_of(model: Model, massive: tuple[float, float] = (100.0, 1000.0)) -> Reading:
    texts = read_texts(model, Inputs(texts=TEXTS), 3, "")
    return read(model, texts, range(model.geometry.n_layers), "resid_post", massive, RULE, silent)


def planted(model: Model, layer: int, channel: int, value: float, position: int | None = None) -> Callable[[], Handle]:
    """A tap that gives one channel of a layer's output a value, at one position or everywhere."""

    def edit(stream: Tensor) -> Tensor:
        changed = stream.clone()
        changed[:, slice(None) if position is None else position, channel] = value
        return changed

    return lambda: tap(model.module, model.anatomy, model.geometry, Site(layer, "resid_post"), edit)


def test_kurtosis_by_hand() -> None:
    assert float(kurtosis(torch.tensor([1.0, -1.0, 1.0, -1.0]).double())) == pytest.approx(1)
    assert float(kurtosis(torch.full((7,), 3.0).double())) == 0
    normal = torch.randn(200_000, generator=torch.Generator().manual_seed(0)).double()
    assert float(kurtosis(normal)) == pytest.approx(3, abs=0.05)


def test_moments_are_those_of_all_tokens_together(tiny: Model) -> None:
    found = reading_of(tiny)
    site = Site(1, "resid_post")
    every = [activations(tiny, tiny.tokens(text), [site])[site].double() for text in TEXTS]
    together = torch.cat(every)
    assert torch.allclose(channel_kurtosis(found)[1], kurtosis(together.T), rtol=1e-6)
    assert torch.allclose(found.sizes.sum(dim=0)[1], together.abs().sum(dim=0))
    assert torch.allclose(outliers(found, 6.0).mean[1], together.abs().mean(dim=0))
    shares = (together**2 / (together**2).sum(dim=-1, keepdim=True)).sum(dim=0)
    assert torch.allclose(found.shares.sum(dim=0)[1], shares)
    assert float(found.shares.sum()) == pytest.approx(int(found.tokens.sum()) * tiny.geometry.n_layers)
    assert float(found.across[2, 1]) == pytest.approx(float(kurtosis(every[2]).mean()))
    place = int(found.peaks_at[0, 1, 5])
    assert float(found.peaks[0, 1, 5]) == float(every[0][place, 5])
    assert abs(float(found.peaks[0, 1, 5])) == float(every[0][:, 5].abs().max())


def test_a_planted_outlier_is_found_and_others_are_not(tiny: Model) -> None:
    with hooked([planted(tiny, 2, 7, -30.0)]):
        found = reading_of(tiny)
    told = outliers(found, 6.0)
    assert told.chosen[2].nonzero().tolist() == [[7]]
    assert float(told.mean[2, 7]) == pytest.approx(30)
    assert float(channel_kurtosis(found)[2, 7]) == 0, "a constant channel has no kurtosis"


def test_a_massive_activation_is_told_with_its_place(tiny: Model) -> None:
    with hooked([planted(tiny, 2, 3, 5_000.0, position=4)]):
        found = reading_of(tiny)
    here = [(one.layer, one.channel, one.text, one.position, one.value) for one in found.massive]
    assert here == [(2, 3, text, 4, 5_000.0) for text in range(3)]
    assert all(one.sink == (4 in found.sinks[one.text]) for one in found.massive)
    assert not reading_of(tiny).massive


def test_size_on_sinks_and_means_of_the_other_texts(tiny: Model) -> None:
    found = reading_of(tiny)
    assert any(found.sinks), "the case has sinks"
    site = Site(0, "resid_post")
    every = [activations(tiny, tiny.tokens(text), [site])[site].double() for text in TEXTS]
    for text, x in enumerate(every):
        assert torch.allclose(found.on_sinks[text, 0], x[list(found.sinks[text])].abs().sum(dim=0))
        assert torch.allclose(found.on_first[text, 0], x[0].abs())
    others = torch.cat([every[0], every[2]])
    assert torch.allclose(means_without(found, 1, 0, "all"), others.mean(dim=0))
    at = torch.cat([every[text][list(found.sinks[text])] for text in (0, 2)])
    away = torch.cat(
        [every[text][list(positions(len(every[text]), found.sinks[text], "others") or ())] for text in (0, 2)]
    )
    assert torch.allclose(means_without(found, 1, 0, "sinks"), at.mean(dim=0))
    assert torch.allclose(means_without(found, 1, 0, "others"), away.mean(dim=0))
    assert len(at) + len(away) == len(others)


def test_positions_by_hand() -> None:
    assert positions(4, (1,), "all") is None
    assert positions(4, (1,), "sinks") == (1,)
    assert positions(4, (1,), "others") == (0, 2, 3)
    assert positions(3, (), "sinks") == ()


def test_victims_and_random_channels_by_hand() -> None:
    norms = torch.tensor([1.0, 8.0, 2.0, 7.0, 0.1, 9.0])
    chosen = torch.tensor([False, True, False, False, False, True])
    assert victims(norms, chosen) == [2, 3], "7 is nearest to 9, which goes first; then 2 is nearest to 8"
    assert victims(norms, torch.ones(6, dtype=torch.bool)) == []
    for seed in range(5):
        some = drawn(chosen, 2, torch.Generator().manual_seed(seed))
        assert len(set(some)) == 2
        assert not {1, 5} & set(some)


def test_reading_norms_are_those_of_the_next_weights(tiny: Model) -> None:
    block = tiny.module.get_submodule("model.layers.1")

    def get(path: str) -> Tensor:
        return block.get_parameter(f"{path}.weight").detach().double()

    query, key, value = (get(f"self_attn.{part}_proj") * get("input_layernorm") for part in "qkv")
    attention = torch.cat([query, key, value]).square().sum(dim=0)
    gate, up = (get(f"mlp.{part}_proj") * get("post_attention_layernorm") for part in ("gate", "up"))
    mlp = torch.cat([gate, up]).square().sum(dim=0)
    both = (attention + mlp).sqrt()
    assert torch.allclose(reading_norms(tiny, 1, "resid_pre"), both)
    assert torch.allclose(reading_norms(tiny, 0, "resid_post"), both)
    assert torch.allclose(reading_norms(tiny, 0, "mlp_out"), both)
    assert torch.allclose(reading_norms(tiny, 1, "resid_mid"), mlp.sqrt())
    assert torch.allclose(reading_norms(tiny, 1, "mlp_post"), get("mlp.down_proj").norm(dim=0))
    last = tiny.geometry.n_layers - 1
    head = (tiny.W_U.double() * tiny.norm(None).weight.double()[:, None]).norm(dim=-1)
    assert torch.allclose(reading_norms(tiny, last, "resid_post"), head)


@pytest.mark.parametrize("kind", ["resid_post", "attn_out", "mlp_post"])
def test_every_family_says_how_channels_are_read(any_tiny: Model, kind: str) -> None:
    for layer in range(any_tiny.geometry.n_layers):
        norms = reading_norms(any_tiny, layer, kind)  # type: ignore[arg-type]
        width = any_tiny.geometry.d_mlp if kind == "mlp_post" else any_tiny.geometry.d_model
        assert norms.shape == (width,)
        assert (norms > 0).all()


def test_setting_a_channel_changes_that_channel_alone(tiny: Model) -> None:
    ids, site = tiny.tokens(TEXTS[0]), Site(1, "resid_post", position=(2, 3))
    values = torch.tensor([5.0, -1.0])
    before = activations(tiny, ids, [site.whole])[site.whole]
    edit = SetChannels(site, (4, 9), values)
    after = edit.edited(before[None])[0]
    assert after[2, [4, 9]].tolist() == [5.0, -1.0]
    after[[2, 3]] = before[[2, 3]]
    assert torch.equal(after, before)
    own = SetChannels(Site(1, "resid_post"), (4,), before[:1, 4])
    unchanged = before.clone()
    unchanged[:, 4] = before[0, 4]
    assert torch.equal(own.edited(before[None])[0], unchanged)


def raw(changes: dict[tuple[str, int], list[float]]) -> pd.DataFrame:
    return pd.DataFrame([
        {"arm": arm, "draw": draw, "edit": edit, "channels": 2, "plain": 3.0, "edited": 3.0 + change, "text": text}
        for (arm, draw), values in changes.items() for edit in ("zero", "mean") for text, change in enumerate(values)
    ])  # fmt: skip


def test_changes_by_hand() -> None:
    rows = raw({("outliers", 0): [1.0, 1.2, 1.1, 0.9, 1.0, 1.3, 1.1, 1.0], ("victims", 0): [0.1] * 8,
                ("random", 0): [0.2] * 8, ("random", 1): [-0.2] * 8})  # fmt: skip
    table = ablation_table({4: rows}).set_index(["edit", "arm"])
    assert table.loc[("zero", "outliers"), "change"] == pytest.approx(1.075)
    assert table.loc[("mean", "random"), "change"] == pytest.approx(0, abs=1e-12)
    assert table["discovered"].tolist() == [True, True, False] * 2
    against = contrasts_table({4: rows}).set_index(["edit", "against"])
    assert against.loc[("zero", "victims"), "difference"] == pytest.approx(0.975)
    assert against["discovered"].all()
    assert list(ablation_table({}).columns) == [column.name for column in ANALYSIS.columns["ablation"]]


def test_the_loss_told_is_that_of_zeroed_channels(tiny: Model) -> None:
    spec = RULE.model_copy(update={"factor": 1.5, "ablated": (1,), "draws": 1})
    frames = run(tiny, Inputs(texts=TEXTS), spec, Context())
    told = frames["channels"][(frames["channels"]["layer"] == 1) & frames["channels"]["outlier"]]["channel"]
    table = frames["ablation"]
    row = table[(table["edit"] == "zero") & (table["arm"] == "outliers")].iloc[0].to_dict()
    assert row["channels"] == len(told) > 0

    def edit(stream: Tensor) -> Tensor:
        changed = stream.clone()
        changed[..., list(told)] = 0
        return changed

    changes = []
    for text in TEXTS:
        ids = tiny.tokens(text)
        plain = -next_token_log_probs(tiny, ids).double().mean()
        with hooked([lambda: tap(tiny.module, tiny.anatomy, tiny.geometry, Site(1, "resid_post"), edit)]):
            changes.append(float(-next_token_log_probs(tiny, ids).double().mean() - plain))
    assert row["change"] == pytest.approx(sum(changes) / 3, abs=1e-6)
    assert abs(row["change"]) > 1e-4


def test_without_outliers_it_says_that_nothing_was_set(tiny: Model) -> None:
    spec = RULE.model_copy(update={"factor": 1e6})
    frames = run(tiny, Inputs(texts=TEXTS), spec, Context())
    assert not len(frames["ablation"])
    assert str(frames["verdict"]["statement"].iloc[0]).startswith("0 of 32 channels are outliers")
    assert "Nothing was set" in ANALYSIS.figures(frames, spec)["ablation"].layout.meta["notes"][0]


@pytest.mark.parametrize(
    ("texts", "options", "words"),
    [
        (TEXTS[:1], {}, "1 text is too few"),
        ((*TEXTS, "a"), {}, "text 3, 'a', has 1 token"),
        (TEXTS, {"layers": (0, 1), "ablated": (2,)}, "option ablated = 2: the layers that are read are 0, 1"),
        (TEXTS, {"layers": (7,)}, "layer"),
    ],
)
def test_bad_input_is_refused(tiny: Model, texts: tuple[str, ...], options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check(tiny, Inputs(texts=texts), OutlierSpec.model_validate({"queries": 2} | options))


def test_a_site_that_the_model_lacks_is_refused(any_tiny: Model) -> None:
    if any_tiny.geometry.parallel_blocks:
        with pytest.raises(InputError, match="resid_mid does not exist"):
            check(any_tiny, Inputs(texts=TEXTS), OutlierSpec(site="resid_mid", queries=2))
    else:
        check(any_tiny, Inputs(texts=TEXTS), OutlierSpec(site="resid_mid", queries=2))
