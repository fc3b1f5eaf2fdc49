"""Training dictionaries: a planted one is found by every architecture, a stopped training goes on as it would have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from analyses._contract import Inputs
from analyses._dictionaries.corpus import corpus_of_texts
from analyses._dictionaries.quality import explained_by_components, quality
from analyses._dictionaries.training import Schedule, Training
from analyses.train_dictionary import ANALYSIS, TrainSpec
from analyses.train_dictionary.rows import held_texts
from analyses.train_dictionary.watching import schedule_of
from hooks.dictionaries import Dictionary
from hooks.errors import InputError
from hooks.model import Model
from kernels.dictionary_step import Rule

RULES: dict[str, dict[str, Any]] = {
    "standard": {"sparsity": 0.5, "auxiliary": 0.0},
    "gated": {"sparsity": 2.0, "auxiliary": 0.0},
    "topk": {"k": 3},
    "batch_topk": {"k": 3},
    "matryoshka": {"k": 3, "prefixes": (48, 96)},
    "jumprelu": {"k": 3, "sparsity": 1.0, "bandwidth": 0.2},
}


def planted(rows: int = 20_000, width: int = 24, features: int = 48) -> tuple[Tensor, Tensor]:
    """Rows that are sums of about three of 48 directions, off the origin; and the directions."""
    draw = torch.Generator().manual_seed(0)
    directions = torch.randn(features, width, generator=draw)
    directions /= directions.norm(dim=1, keepdim=True)
    active = (torch.rand(rows, features, generator=draw) < 0.06) * (0.5 + torch.rand(rows, features, generator=draw))
    return active @ directions + 0.3 * torch.randn(width, generator=draw), directions


def trained(architecture: str, x: Tensor, steps: int = 1500, target: Tensor | None = None, **more: Any) -> Training:
    schedule = Schedule(steps, 256, 0.003, 20 * 256)
    made = Training(x, x if target is None else target, Rule(architecture, **RULES[architecture]), 96, schedule, **more)
    for _ in made.run():
        pass
    return made


@pytest.mark.parametrize("architecture", RULES)
def test_a_planted_dictionary_is_found(architecture: str) -> None:
    x, directions = planted()
    dictionary = trained(architecture, x).dictionary()
    assert torch.allclose(dictionary.W_dec.norm(dim=1), torch.ones(96), atol=1e-5)
    nearest = (directions @ dictionary.W_dec.T).max(dim=1).values
    assert float(nearest.mean()) >= 0.95
    found = quality(dictionary, x, x)
    assert found.explained > 0.8
    assert found.active < 20 if architecture in ("standard", "gated") else found.active < 4.5


@pytest.mark.parametrize("skip", [False, True])
def test_a_transcoder_learns_a_map(skip: bool) -> None:
    """The target is a linear map of the same planted features, in other units: scales are folded back."""
    x, _ = planted(8000)
    through = torch.randn(24, 17, generator=torch.Generator().manual_seed(1))
    target = 40 * x @ through + 7
    rule = Rule("topk", k=6, centred=False)
    made = Training(5 * x, target, rule, 96, Schedule(600, 256, 0.003, 20 * 256), skip=skip)
    for _ in made.run():
        pass
    found = quality(made.dictionary(), 5 * x, target)
    assert found.explained > (0.97 if skip else 0.7)
    assert found.active <= 6


@pytest.mark.parametrize("architecture", ["batch_topk", "standard"])
def test_a_stopped_training_goes_on_as_it_would_have(architecture: str) -> None:
    x, _ = planted(2000)
    whole = trained(architecture, x, 90)
    schedule = Schedule(90, 256, 0.003, 20 * 256)
    rule = Rule(architecture, **RULES[architecture])
    first = Training(x, x, rule, 96, schedule)
    losses = [next(first.run()).losses for _ in range(37)]
    second = Training(x, x, rule, 96, schedule)
    second.restore({name: one.clone() for name, one in first.state().items()})
    losses += [step.losses for step in second.run()]
    assert len(losses) == 90
    for name, one in whole.state().items():
        assert torch.equal(second.state()[name], one), name


@pytest.mark.parametrize("architecture", ["jumprelu", "gated", "standard"])
def test_units_are_folded_back(architecture: str) -> None:
    """Activations 1,024 times larger give latents as many times larger, and the same explained variance."""
    x, _ = planted(2000)
    small, large = (trained(architecture, factor * x, 60).dictionary() for factor in (1.0, 1024.0))
    codes, others = small.encode(x), large.encode(1024 * x)
    assert torch.equal(codes.index, others.index)
    assert torch.allclose(1024 * codes.value, others.value, rtol=1e-3)
    assert quality(small, x, x).explained == pytest.approx(quality(large, 1024 * x, 1024 * x).explained, abs=1e-4)


def test_quality_of_known_dictionaries() -> None:
    """Identity explains all, the mean alone nothing, zeros less than nothing off the origin; shrinking is seen."""
    x, _ = planted(500)
    eye = torch.eye(24)
    both = torch.cat([eye, -eye])
    identity = Dictionary("standard", both.T, both, torch.zeros(24), torch.zeros(48))
    nothing = Dictionary("standard", both.T, both * 0, x.mean(dim=0), torch.zeros(48))
    found = quality(identity, x, x)
    assert found.explained == pytest.approx(1.0, abs=1e-6)
    assert (found.cosine, found.norm_ratio, found.bias) == pytest.approx((1, 1, 1), abs=1e-5)
    assert found.active == pytest.approx(24)
    assert quality(nothing, x, x).explained == pytest.approx(0.0, abs=1e-6)
    half = quality(Dictionary("standard", both.T, both / 2, torch.zeros(24), torch.zeros(48)), x, x)
    assert (half.cosine, half.norm_ratio, half.bias) == pytest.approx((1, 0.5, 0.5), abs=1e-5)
    assert quality(Dictionary("standard", both.T, both * 0, torch.zeros(24), torch.zeros(48)), x, x).explained < 0
    assert explained_by_components(x, x, x, x, 24) == pytest.approx(1.0, abs=1e-5)
    assert 0 < explained_by_components(x, x, x, x, 3) < 0.6


def test_what_cannot_be_trained_is_refused() -> None:
    x, _ = planted(90)
    with pytest.raises(InputError, match="90 tokens are too few for 96 latents"):
        Training(x, x, Rule("topk", k=3), 96, Schedule(5, 16, 0.01, 100))
    x, _ = planted(200)
    x[3] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        trained("topk", x, 5)


def test_pieces_of_one_document_stay_together(tiny: Model) -> None:
    """A long text is cut, and its pieces are all trained on or all held out; cut otherwise it is another corpus."""
    texts = ["the red book is on the table " * 4, "Mary went to the park with John " * 4, "the man"]
    corpus = corpus_of_texts(tiny, texts, 8)
    assert len(corpus.ids) > 6
    assert corpus.documents[0] == 1
    assert corpus.source.startswith("3 given texts (")
    assert corpus.source != corpus_of_texts(tiny, texts, 9).source
    rows = corpus.document_of(torch.arange(len(corpus.ids)))
    for seed in range(6):
        held = held_texts(rows, TrainSpec(draw_seed=seed, held_out=0.4))
        assert 0 < int(held.sum()) < len(held)
        for document in (1, 2, 3):
            assert len(set(held[rows == document].tolist())) == 1
    with pytest.raises(InputError, match="one text alone"):
        held_texts(corpus_of_texts(tiny, texts[:1], 8).document_of(torch.arange(3)), TrainSpec())


def test_too_many_latents_are_refused_before_text_is_written(tiny: Model) -> None:
    """64 texts of 7 tokens, 6 texts held out: 406 rows to train on at most."""
    spec = TrainSpec(latents=407, active=3, drawn=200, length=8)
    with pytest.raises(InputError, match=r"option latents = 407: 448 tokens.* 406 at most"):
        ANALYSIS.check(tiny, Inputs(prompt="x"), spec)
    ANALYSIS.check(tiny, Inputs(prompt="x"), spec.model_copy(update={"latents": 406}))


def test_a_latent_is_dead_after_rows_that_were_there() -> None:
    """A batch of more rows than there are is all of them: 20 such batches, not 20 of the size asked for."""
    assert schedule_of(TrainSpec(batch=1024), 300).dead_after == 20 * 300
    assert schedule_of(TrainSpec(batch=1024), 5000).dead_after == 20 * 1024


def test_standard_begins_with_the_length_that_fits_and_moves_its_biases_fast() -> None:
    """Neither longer nor shorter encoder rows have less error; Adam's first step is the rate, or ten times it."""
    x, _ = planted(2000)
    made = Training(x, x, Rule("standard", sparsity=0.5), 96, Schedule(100, 256, 0.001, 100))
    begun = made.dictionary_in_training()
    errors = []
    for times in (0.8, 1.0, 1.25):
        codes = Dictionary.of(begun.tensors() | {"W_enc": times * begun.W_enc}, begun.settings())
        errors.append(float((made.x - codes.reconstruct(made.x)).square().sum()))
    assert errors[1] < min(errors[0], errors[2])
    before = {name: one.clone() for name, one in made.parameters.items()}
    next(made.run())
    rate = made.schedule.rate_at(0)
    moved = {name: float((one - before[name]).abs().max()) for name, one in made.parameters.items()}
    assert moved["b_enc"] == pytest.approx(10 * rate, rel=0.01)
    assert moved["encoder"] == pytest.approx(rate, rel=0.01)
