"""Spectra: measures by hand and by their formulas, what they do not depend on, equal clouds, controls, refusals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from analyses._activations import activations, read_texts
from analyses._contract import Context, Inputs
from analyses.spectra import ANALYSIS, SpectraSpec, check, run
from analyses.spectra.computing import ALL, GAUSSIAN, MODEL, SHUFFLED, chosen_tokens, measured
from analyses.spectra.measures import (
    CODING,
    EFFECTIVE,
    MEASURES,
    PARTICIPATION,
    TOP,
    gaussian,
    measures,
    prepared,
    shuffled,
    singular_values,
)
from hooks.errors import InputError
from hooks.model import Model
from hooks.sites import Site
from hooks.taps import hooked, tap

TEXTS = ("When John and Mary went to the store", "the red book on the table and a cat", "a cat sat there on the mat")


def all_of(x: Tensor, *, centred: bool = False, epsilon: float = 0.5) -> dict[str, float]:
    return measures(singular_values(prepared(x, centred=centred)), len(x), x.shape[1], epsilon)


def cloud(tokens: int = 12, width: int = 20, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, width, generator=generator, dtype=torch.float64) @ torch.diag(
        torch.linspace(0.1, 3, width, dtype=torch.float64)
    )


def test_equal_directions() -> None:
    found = all_of(5 * torch.eye(8, 30))
    assert found[PARTICIPATION] == pytest.approx(8)
    assert found[EFFECTIVE] == pytest.approx(8)
    assert found[TOP] == pytest.approx(1 / 8)
    assert found[CODING] == pytest.approx(0.5 * 8 * math.log(1 + 30 / (8 * 0.25)))


def test_one_direction() -> None:
    found = all_of(torch.outer(torch.arange(1.0, 7), torch.ones(5)))
    assert found[PARTICIPATION] == pytest.approx(1)
    assert found[EFFECTIVE] == pytest.approx(1, abs=1e-4)
    assert found[TOP] == pytest.approx(1)


@pytest.mark.parametrize("shape", [(6, 15), (15, 6)])
def test_against_the_formulas(shape: tuple[int, int]) -> None:
    x = cloud(*shape)
    centred = x - x.mean(dim=0)
    unit = centred / centred.square().sum(dim=-1).mean().sqrt()
    powers = torch.linalg.svdvals(unit) ** 2
    found = all_of(x, centred=True, epsilon=0.3)
    whole = torch.eye(shape[0]).double() + shape[1] / (shape[0] * 0.09) * unit @ unit.T
    assert found[CODING] == pytest.approx(0.5 * float(torch.linalg.slogdet(whole).logabsdet))
    assert found[PARTICIPATION] == pytest.approx(float(powers.sum() ** 2 / (powers**2).sum()))
    covariance = torch.cov(x.T)
    assert found[PARTICIPATION] == pytest.approx(float(covariance.trace() ** 2 / (covariance @ covariance).trace()))
    shares = powers.sqrt() / powers.sqrt().sum()
    assert found[EFFECTIVE] == pytest.approx(float(torch.special.entr(shares).sum().exp()), rel=1e-5)


def test_scale_rotation_and_shift_change_nothing() -> None:
    x = cloud()
    turned, _ = torch.linalg.qr(cloud(20, 20, seed=3))
    wanted = all_of(x, centred=True)
    for other in (7 * x, x @ turned, x + 100 * torch.ones(20)):
        assert all_of(other, centred=True) == pytest.approx(wanted, rel=1e-5)
    assert all_of(x + 100, centred=False)[TOP] > 0.9 > wanted[TOP]


def test_unit_norm_takes_a_long_vector_its_weight() -> None:
    x = cloud()
    long = x.clone()
    long[3] *= 1000
    assert all_of(long)[PARTICIPATION] == pytest.approx(1, abs=1e-3)
    first, second = (singular_values(prepared(one, centred=True, unit=True)) for one in (x, long))
    assert torch.allclose(first, second)
    assert float(prepared(x, centred=False, unit=True).norm(dim=-1).std()) == pytest.approx(0, abs=1e-12)


def test_a_cloud_without_spread_is_all_zero() -> None:
    assert set(all_of(torch.full((5, 4), 0.1), centred=True).values()) == {0.0}


def test_gaussian_data_grow_with_tokens_which_is_why_clouds_are_equal() -> None:
    generator = torch.Generator().manual_seed(0)
    for tokens in (20, 80, 320):
        found = all_of(gaussian(tokens, 100, generator))
        assert found[PARTICIPATION] == pytest.approx(tokens * 100 / (tokens + 101), rel=0.03)


def test_shuffling_keeps_every_channel_and_breaks_what_they_share() -> None:
    x = torch.outer(torch.randn(40, generator=torch.Generator().manual_seed(0)), torch.ones(10))
    other = shuffled(x, torch.Generator().manual_seed(1))
    assert torch.equal(other.sort(dim=0).values, x.sort(dim=0).values)
    assert all_of(x)[PARTICIPATION] == pytest.approx(1)
    assert all_of(other, centred=True)[PARTICIPATION] > 5


def test_every_text_gives_as_many_tokens_and_no_text_moves_anothers(tiny: Model) -> None:
    texts = read_texts(tiny, Inputs(texts=TEXTS), 2, "")
    shortest = min(text.total for text in texts)
    count, chosen = chosen_tokens(texts, SpectraSpec())
    assert count == shortest - 1
    assert all(len(at) == count and 0 not in at.tolist() and len(set(at.tolist())) == count for at in chosen)
    assert all(int(at.max()) < text.total for at, text in zip(chosen, texts, strict=True))
    spec = SpectraSpec(tokens=4)
    _, some = chosen_tokens(texts, spec)
    _, fewer = chosen_tokens(texts[1:], spec)
    assert [at.tolist() for at in some[1:]] == [at.tolist() for at in fewer]
    assert 0 in torch.cat(chosen_tokens(texts, SpectraSpec(skip=0))[1]).tolist()


def test_numbers_of_a_text_are_those_of_its_cloud(tiny: Model) -> None:
    spec = SpectraSpec(layers=(1,), sites=("resid_post", "mlp_post"), pooled=False)
    frames = run(tiny, Inputs(texts=TEXTS[:1]), spec, Context())
    ids = tiny.tokens(TEXTS[0])
    for kind in ("resid_post", "mlp_post"):
        site = Site(1, kind)
        wanted, _ = measured(activations(tiny, ids, [site])[site][1:], spec)
        table = frames["spectra"]
        here = table[(table["site"] == kind) & (table["data"] == MODEL)].set_index("measure")["mean"]
        assert here[list(MEASURES)].tolist() == pytest.approx(wanted)
    assert frames["spectra"]["low"].isna().all(), "one text has no interval"
    assert not len(frames["pooled"])
    first = frames["decay"][frames["decay"]["site"] == "resid_post"]
    assert first["share"].sum() == pytest.approx(1)
    assert first["share"].is_monotonic_decreasing
    top = frames["spectra"].set_index(["site", "data", "measure"])["mean"]
    assert first["share"].iloc[0] == pytest.approx(top["resid_post", MODEL, TOP])


def test_planted_vectors_of_one_direction_are_seen(tiny: Model) -> None:
    direction = torch.randn(tiny.geometry.d_model, generator=torch.Generator().manual_seed(0))

    def edit(stream: Tensor) -> Tensor:
        return torch.arange(1.0, stream.shape[1] + 1)[None, :, None] * direction

    with hooked([lambda: tap(tiny.module, tiny.anatomy, tiny.geometry, Site(1, "resid_post"), edit)]):
        frames = run(tiny, Inputs(texts=TEXTS), SpectraSpec(layers=(0, 1)), Context())
    table = frames["spectra"].set_index(["layer", "data", "measure"])["mean"]
    assert table[1, MODEL, PARTICIPATION] == pytest.approx(1, abs=1e-3)
    assert table[0, MODEL, PARTICIPATION] > 2
    assert table[1, SHUFFLED, PARTICIPATION] > 2
    assert table[1, GAUSSIAN, PARTICIPATION] == table[0, GAUSSIAN, PARTICIPATION]


def test_labels_and_pooled_clouds_are_of_one_size(tiny: Model) -> None:
    inputs = Inputs(texts=(*TEXTS, "Anna gave the red book to John"), labels=("a", "a", "b", "b"))
    frames = run(tiny, inputs, SpectraSpec(layers=(2,), tokens=5), Context())
    pooled = frames["pooled"]
    assert set(pooled["tokens"]) == {10}
    assert list(dict.fromkeys(pooled["label"])) == [ALL, "a", "b"]
    assert pooled.groupby("label")["texts"].first().to_dict() == {ALL: 4, "a": 2, "b": 2}
    spectra = frames["spectra"]
    assert set(spectra["tokens"]) == {5}
    assert spectra.groupby("label")["texts"].first().to_dict() == {ALL: 4, "a": 2, "b": 2}
    for label, measure in (("a", PARTICIPATION), ("b", EFFECTIVE)):
        here = spectra[(spectra["label"] == label) & (spectra["measure"] == measure)]
        assert here["mean"].between(1, 4).all(), "five centred tokens have four directions at most"
    both = spectra[spectra["data"] == MODEL].set_index(["label", "measure"])["mean"]
    assert both[ALL, CODING] == pytest.approx((both["a", CODING] + both["b", CODING]) / 2)


@pytest.mark.parametrize(
    ("texts", "options", "words"),
    [
        (("the red",), {}, "has 3 tokens: 1 are left out"),
        (TEXTS, {"tokens": 50}, "every text gives 50 tokens"),
        (TEXTS, {"drawn_site": "mlp_out"}, "option drawn_site"),
        (TEXTS, {"layers": (5,)}, "layer"),
    ],
)
def test_bad_input_is_refused(tiny: Model, texts: tuple[str, ...], options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check(tiny, Inputs(texts=texts), SpectraSpec.model_validate(options))


def test_figures_say_how_many_tokens_and_how_they_were_treated(tiny: Model) -> None:
    spec = SpectraSpec(sites=("mlp_out", "resid_post"), drawn_site="resid_post", measure="coding_rate", centred=False)
    drawn = ANALYSIS.figures(run(tiny, Inputs(texts=TEXTS), spec, Context()), spec)
    assert tuple(drawn) == (*MEASURES, "labels", "pooled", "decay")
    said = drawn["coding_rate"].layout.meta["notes"][0]
    assert "resid_post" in said
    assert "tokens a cloud, the first left out, not centred, ε = 0.5" in said


def test_frames_without_rows_have_the_types_of_those_with_rows(tiny: Model) -> None:
    first, bare = (run(tiny, Inputs(texts=TEXTS), SpectraSpec(pooled=pooled), Context()) for pooled in (True, False))
    assert len(first["pooled"]) > len(bare["pooled"]) == 0
    assert bare["pooled"].dtypes.map(str).to_dict() == first["pooled"].dtypes.map(str).to_dict()


def test_a_label_has_one_colour_in_all_figures(tiny: Model) -> None:
    inputs = Inputs(texts=TEXTS, labels=("b", "a", "b")[: len(TEXTS)])
    drawn = ANALYSIS.figures(run(tiny, inputs, SpectraSpec(), Context()), SpectraSpec())
    colours = [
        {trace.name: trace.line.color for trace in drawn[name].data if trace.name} for name in ("labels", "pooled")
    ]
    assert set(colours[0]) == {"a", "b"}
    assert colours[0].items() <= colours[1].items()
    assert len(set(colours[1].values())) == len(colours[1])
