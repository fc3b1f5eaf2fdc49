"""Feature steering: edits that must change nothing change nothing, controls move as far, verdicts say what is there."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from analyses._answers import continuations
from analyses._contract import Context, Inputs
from analyses._dictionaries.kept import contents
from analyses.feature_steering import ANALYSIS, FeatureSteeringSpec, check, run
from analyses.feature_steering.arms import DIRECTION, LATENTS, RANDOM, UNSTEERED, added, arms_of, recoded
from analyses.feature_steering.features import Latents, latents_of
from analyses.feature_steering.tables import curve_table
from analyses.feature_steering.verdicts import in_words, verdicts_table
from analyses.feature_steering.writing import distinct, plain_losses, write
from data.artifacts import Artifact
from hooks.capture import run_with_cache
from hooks.decoding import ABSENT
from hooks.dictionaries import Dictionary, Placed, Recode
from hooks.errors import InputError
from hooks.model import Model
from hooks.sites import Site

PROMPT = "When John and Mary went to the store"
QUICK = {"samples": 3, "new_tokens": 4, "random_draws": 2, "held_texts": 2, "held_tokens": 8}


def dictionary(d: int, latents: int = 24, seed: int = 0) -> Dictionary:
    random = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(latents, d, generator=random), dim=1)
    return Dictionary("topk", rows.T.contiguous(), rows, torch.zeros(d), b_enc=torch.zeros(latents), k=6)


def kept(model: Model, one: Dictionary, site: Site, writes: Site | None = None, name: str = "") -> Artifact:
    owner = model.identity.as_dict() | ({"name": name} if name else {})
    tensors, meta = contents([Placed(one, site, writes or site, owner)], {})
    return Artifact("mine", "dictionary", meta, tensors, "r")


def steered(
    model: Model, artifact: Artifact | None, prompt: str = PROMPT, **options: object
) -> dict[str, pd.DataFrame]:
    spec = FeatureSteeringSpec.model_validate(QUICK | ({"dictionary": "mine"} if artifact else {}) | options)
    return run(model, Inputs(prompt=PROMPT), spec, Context(use=lambda _field: artifact))


def text_of(frame: pd.DataFrame, arm: str) -> list[str]:
    return frame.loc[frame["arm"] == arm, "continuation"].tolist()


def test_a_latent_held_at_its_own_value_changes_nothing(tiny: Model) -> None:
    one, site, ids = dictionary(tiny.geometry.d_model), Site(1, "resid_post"), tiny.tokens(PROMPT)
    base = run_with_cache(tiny, ids, [site])
    codes = one.encode(base[site][0])
    row, latent, value = int(codes.rows()[-1]), int(codes.index[-1]), float(codes.value[-1])
    here = Site(1, "resid_post", position=row)
    same = tiny.logits(ids, [Recode(here, one, {latent: value})])
    torch.testing.assert_close(same, base.logits, atol=1e-4, rtol=1e-4)
    other = tiny.logits(ids, [Recode(here, one, {latent: value + 5.0})])
    assert float((other - base.logits).abs().max()) > 1e-2


def test_scale_one_writes_the_same_texts_and_zero_is_ablation(tiny: Model) -> None:
    artifact = kept(tiny, dictionary(tiny.geometry.d_model), Site(1, "resid_post"))
    scaled = steered(tiny, artifact, mode="scale", strengths=[0.0, 1.0], latents=[3, 5])
    values = scaled["values"]
    own = values[values["arm"] == LATENTS]
    same = own[own["strength"] == 1.0]
    assert same["continuation"].tolist() == text_of(values, UNSTEERED)
    held = scaled["costs"]
    assert held.loc[(held["arm"] != UNSTEERED) & (held["strength"] == 1.0), "added"].abs().max() < 1e-5
    ablated = steered(tiny, artifact, mode="ablate", latents=[3, 5])["values"]
    clamped = steered(tiny, artifact, mode="clamp", strengths=[0.0], latents=[3, 5])["values"]
    zero = own.loc[own["strength"] == 0.0, "target_log_prob"].to_numpy()
    for found in (ablated, clamped):
        assert found.loc[found["arm"] == LATENTS, "target_log_prob"].to_numpy() == pytest.approx(zero, abs=1e-4)
    assert set(ablated["strength"].dropna()) == {0.0}


def latents(tiny: Model, chosen: tuple[int, ...]) -> Latents:
    one, site = dictionary(tiny.geometry.d_model), Site(1, "resid_post")
    rows = torch.randn(50, tiny.geometry.d_model, generator=torch.Generator().manual_seed(3))
    return Latents(Placed(one, site, site), chosen, (1.0,) * len(chosen), (True,) * len(chosen), torch.ones(one.d_sae),
                   torch.ones(one.d_sae), rows, ("word",), "", "")  # fmt: skip


def test_controls_move_every_token_as_far(tiny: Model) -> None:
    found = latents(tiny, (2, 7))
    spec = FeatureSteeringSpec(strengths=(0.0, 4.0), random_draws=2)
    for arm in arms_of(found, spec)[1:]:
        assert arm.edit is not None
        own = recoded(found, "clamp", arm.strength).moved(found.rows) - found.rows
        moved = arm.edit.moved(found.rows) - found.rows
        if arm.arm == DIRECTION:
            assert float(moved.norm(dim=1).mean()) == pytest.approx(float(own.norm(dim=1).mean()), rel=1e-4)
            assert float(added(found, recoded(found, "clamp", 4.0)) @ found.direction) > 0
        else:
            torch.testing.assert_close(moved.norm(dim=1), own.norm(dim=1), atol=1e-4, rtol=1e-3)
        if arm.arm == RANDOM:
            assert not set(arm.of.split(", ")) & {"2", "7"}


def test_writing_with_a_cache_is_writing_without_one(any_tiny: Model) -> None:
    ids, cold = any_tiny.encode(PROMPT), 1e-4
    plain = write(any_tiny, ids, [], 2, 5, cold, 0)
    (greedy,) = continuations(any_tiny, [PROMPT], 5)
    assert greedy.startswith(str(any_tiny.tokenizer.decode([int(one) for one in plain.tokens[0] if one != ABSENT],
                                                           skip_special_tokens=True))[:3])  # fmt: skip
    edit = recoded(latents(any_tiny, (2,)), "clamp", 6.0)
    found, text = write(any_tiny, ids, [edit], 1, 5, cold, 0), list(ids)
    for token in found.tokens[0].tolist():
        if token == ABSENT:
            break
        logits = any_tiny.logits(torch.tensor([text]), [edit], last_only=True)[0, -1]
        assert float(logits.max() - logits[token]) < 1e-3
        text.append(token)


def test_losses_are_those_of_the_plain_model_and_end_with_the_text(tiny: Model) -> None:
    ids, said = tiny.encode(PROMPT), torch.tensor([[5, 6, 7], [8, ABSENT, ABSENT]])
    found = plain_losses(tiny, ids, said)
    for row, tokens in enumerate(([5, 6, 7], [8])):
        whole = torch.tensor([[*ids, *tokens]])
        logs = tiny.logits(whole)[0, len(ids) - 1 : -1].log_softmax(dim=-1)
        assert float(found[row]) == pytest.approx(-float(logs[range(len(tokens)), tokens].mean()), abs=1e-4)
    assert distinct(torch.tensor([1, 2, 1, 2, 1])) == 0.5
    assert distinct(torch.tensor([1, ABSENT])) == 1.0


def test_a_latent_that_writes_a_word_raises_it_and_the_verdict_says_so(tiny: Model) -> None:
    """The last stream's direction of one token: held high, every continuation has it; random latents do not."""
    token = tiny.encode(" store")[0]
    word = tiny.str_tokens([token])[0].strip()
    one = dictionary(tiny.geometry.d_model)
    rows = one.W_dec.clone()
    rows[4] = torch.nn.functional.normalize(tiny.W_U[:, token].float(), dim=0)
    planted = Dictionary("topk", rows.T.contiguous(), rows, torch.zeros(rows.shape[1]), b_enc=torch.zeros(24), k=6)
    artifact = kept(tiny, planted, Site(tiny.geometry.n_layers - 1, "resid_post"))
    frames = steered(tiny, artifact, target=[word], strengths=[500.0], latents=[4], samples=8)
    (verdict,) = frames["verdicts"].to_dict("records")
    assert verdict["change"] > 0.5
    assert verdict["told"]
    assert verdict["said"].startswith("raises the target beyond random latents")
    assert verdict["held_added"] > 0.1
    costs, about = frames["costs"], frames["about"].iloc[0]
    by_text = [costs.loc[costs["arm"] == arm].set_index("text")["loss"] for arm in (LATENTS, UNSTEERED)]
    assert about["perplexity"] == pytest.approx(math.exp(by_text[1].mean()))
    assert verdict["held_perplexity"] == pytest.approx(math.exp(by_text[0].mean()) / about["perplexity"])
    assert verdict["outcome"] == "raises it"
    assert verdict["random_change"] == 0
    chosen = steered(tiny, artifact, target=[word], strengths=[1.0])["latents"]
    assert chosen["latent"].tolist() == [4], "the latent that promotes the target most is found"


def test_verdicts_name_failures() -> None:
    row = {"change": 0.1, "low": -0.1, "high": 0.3, "outcome": "no effect told", "random_change": 0.05,
           "own_added": 0.2, "own_perplexity": 1.22, "held_added": 0.1, "held_perplexity": 1.11,
           "random_held_perplexity": 1.02}  # fmt: skip
    said = in_words(row)
    assert said.startswith("no effect told: +0.10 [-0.10, +0.30] of continuations, random latents +0.05; costs")
    assert "perplexity × 1.11 on held-out text (+0.10 nats a token), random latents × 1.02" in said
    assert "no further than random" in in_words(row | {"outcome": "not beyond random"})
    assert in_words(row | {"outcome": "lowers it"}).startswith("lowers")


def test_strength_one_is_the_mean_activation_where_a_latent_fires(tiny: Model) -> None:
    one, site = dictionary(tiny.geometry.d_model), Site(1, "resid_post")
    spec = FeatureSteeringSpec.model_validate(QUICK | {"latents": [2, 7], "dictionary": "mine"})
    found = latents_of(tiny, spec, Placed(one, site, site, tiny.identity.as_dict()), Context())
    values = torch.zeros(len(found.rows), one.d_sae)
    codes = one.encode(found.rows)
    values[codes.rows(), codes.index] = codes.value
    for latent, size in zip((2, 7), found.units, strict=True):
        fires = values[:, latent] > 0
        assert 0 < fires.sum() < len(values)
        assert size == pytest.approx(float(values[fires, latent].mean()), rel=1e-4)
    edit = recoded(found, "clamp", 3.0).inner
    assert isinstance(edit, Recode)
    assert dict(edit.clamp) == pytest.approx({2: 3.0 * found.units[0], 7: 3.0 * found.units[1]})


def test_random_latents_that_never_hit_are_not_beaten_by_one_hit() -> None:
    """Twelve continuations: one hit is outside the random latents' spread, which is none, and still tells nothing."""
    for hits, beyond in ((1, False), (9, True)):
        rows = []
        for arm, strength, draws in ((UNSTEERED, float("nan"), (None,)), (LATENTS, 2.0, (None,)),
                                     (RANDOM, 2.0, (0, 1, 2)), (DIRECTION, 2.0, (None,))):  # fmt: skip
            rows += [{"prompt": 0, "arm": arm, "strength": strength, "draw": draw, "sample": sample,
                      "hit": float(arm == LATENTS and sample < hits), "loss": 1.0, "distinct": 1.0,
                      "target_log_prob": -3.0} for draw in draws for sample in range(12)]  # fmt: skip
        values = pd.DataFrame(rows)
        costs = values[values["sample"] < 2].rename(columns={"sample": "text"}).assign(added=0.0)
        (verdict,) = verdicts_table(curve_table(values, costs)).to_dict("records")
        assert verdict["change"] == pytest.approx(hits / 12)
        assert verdict["beyond_random"] is beyond
        assert verdict["outcome"] == ("raises it" if beyond else "no effect told")


def test_several_prompts_and_no_dictionary(tiny: Model) -> None:
    inputs = Inputs(texts=(PROMPT, "the red book on the table"))
    spec = FeatureSteeringSpec(strengths=(2.0,), **QUICK)
    frames = run(tiny, inputs, spec, Context())
    assert frames["about"]["dictionary"].tolist() == [""]
    assert frames["values"].groupby(["prompt", "arm"]).size().min() == 3
    assert set(ANALYSIS.figures(frames, spec)) == set(ANALYSIS.pictures(spec))  # type: ignore[misc]


def test_what_is_refused(tiny: Model) -> None:
    site, one = Site(1, "resid_post"), dictionary(tiny.geometry.d_model)
    for artifact, options, words in (
        (kept(tiny, one, site, Site(1, "mlp_out")), {}, "is a transcoder"),
        (kept(tiny, one, site, name="another"), {}, "made for a model of name 'another'"),
        (kept(tiny, one, site), {"latents": [99]}, "latent 99 does not exist: this dictionary has 24"),
        (kept(tiny, one, site), {"latents": [1, 1]}, "named twice"),
        (kept(tiny, one, site), {"layer": 2}, "has none for layer 2"),
        (kept(tiny, dictionary(7), site), {}, "reads 7 channels"),
    ):
        with pytest.raises(InputError, match=words):
            steered(tiny, artifact, **options)
    for options, words in (
        ({"strengths": (-1.0,)}, "from 0"),
        ({"target": ("a",)}, "two letters"),
        ({"latents": (-1,)}, "counted from 0"),
        ({"layer": 50}, "layers 0 to"),
        ({"new_tokens": 500}, "this model reads"),
    ):
        with pytest.raises(InputError, match=words):
            check(tiny, Inputs(prompt=PROMPT), FeatureSteeringSpec.model_validate(options))
    with pytest.raises(InputError, match="one token"):
        check(tiny, Inputs(prompt=tiny.str_tokens([5])[0]), FeatureSteeringSpec())
