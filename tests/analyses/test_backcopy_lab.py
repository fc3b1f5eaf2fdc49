"""The Bigram-Backcopy laboratory: its law, what a short training does, its edits, and the checkpoints it leaves.

More than 200 lines: one short training is shared by most of the tests, and a second file would train again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._contract import Context, Frames, Inputs
from analyses._registry import get
from analyses.backcopy_lab import LabSpec
from analyses.backcopy_lab.measuring import Seen, cross_entropies, draw_tested, risk_rows, see
from analyses.backcopy_lab.task import Task, oracle, read_task, sample
from analyses.backcopy_lab.text import TEXT
from analyses.backcopy_lab.training import train
from analyses.backcopy_lab.trying import probe_tokens
from hooks.checkpoints.backcopy import BOS, make_backcopy, make_tokenizer
from hooks.checkpoints.backcopy_attention import edited
from hooks.checkpoints.building import Maker, build
from hooks.errors import Cancelled, InputError
from hooks.interventions import ReplacePattern, Zero
from hooks.load import load
from hooks.model import Model
from hooks.sites import Site

LAB = get("backcopy_lab")
INPUTS = Inputs(prompt=TEXT)
SPEC = LabSpec(steps=350, model_width=32, length=32, points=4, kept=1, rate=0.01)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_edit(frames: Frames) -> dict[tuple[str, str], dict[Any, Any]]:
    """The rows of `interventions` by edit and kind, of a model with one head."""
    return {(row["edit"], row["kind"]): row for row in frames["interventions"].to_dict("records")}


@pytest.fixture(scope="module")
def task() -> Task:
    return read_task([TEXT], 65, 3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def trained(tiny: Model, store: Path) -> tuple[Frames, dict[str, pd.DataFrame]]:
    """One short training, its checkpoints in `store`, and what it showed on the way."""
    live: dict[str, pd.DataFrame] = {}

    def keep(name: str, make: Maker) -> str:
        return build(store, name, make, lambda *_: None).folder.name

    frames = LAB.run(tiny, INPUTS, SPEC, Context(keep_model=keep, show=live.__setitem__))
    return LAB.conform(frames), live


def test_after_a_trigger_comes_what_was_before_it_and_after_others_a_bigram(task: Task) -> None:
    tokens = sample(task, 400, 40, seeded(3))
    assert (tokens[:, 0] == 0).all()
    assert (tokens[:, 1:] > 0).all()
    trigger = task.is_trigger(tokens)
    assert not trigger[:, 1].any(), "no sequence begins with a trigger"
    rows, places = trigger[:, :-1].nonzero(as_tuple=True)
    assert len(rows) > 1000
    assert torch.equal(tokens[rows, places + 1], tokens[rows, places - 1])
    counts = torch.zeros_like(task.following)
    rows, places = task.is_other(tokens[:, :-1]).nonzero(as_tuple=True)
    counts.index_put_((tokens[rows, places], tokens[rows, places + 1]), torch.ones(len(rows)).double(), accumulate=True)
    for token in counts.sum(1).topk(5).indices.tolist():
        seen, total = counts[token], counts[token].sum()
        law = task.following[token]
        assert (seen[law == 0] == 0).all()
        # Five standard errors of a share.
        assert ((seen / total - law).abs() <= 5 * (law * (1 - law) / total).sqrt() + 1e-12).all()


def test_the_law_is_the_texts_own_bigrams() -> None:
    small = read_task(["abac  abad", "a"], 65, 1)
    assert small.characters == ("a", " ", "b", "c", "d")
    place = {character: at for at, character in enumerate(small.characters, 1)}
    # "abac abad a" as a ring: a is followed by b, c, b, d and, the last of all, by the first a.
    assert small.following[place["b"], place["a"]] == 1
    assert small.following[place["a"]].tolist() == pytest.approx([0, 1 / 5, 0, 2 / 5, 1 / 5, 1 / 5])
    assert read_task(["aaabbbccdde"], 4, 1).dropped == 1


def test_risk_floors_are_zero_on_triggers_and_the_bigram_entropy_elsewhere(task: Task) -> None:
    tested = draw_tested(task, 50, 40, seeded(1))
    perfect = torch.cat([oracle(task, tested.tokens), torch.zeros(50, 40, 1).double()], dim=-1).log()
    least = cross_entropies(tested, perfect)
    assert (least[tested.masks["triggers"]] == 0).all()
    others = tested.tokens[tested.masks["others"]]
    rows = task.following[others]
    entropy = -(rows * rows.clamp_min(1e-300).log()).sum(1)
    assert torch.allclose(least[tested.masks["others"]], entropy)
    assert tested.floors["triggers"] == 0
    assert tested.floors["others"] == pytest.approx(float(entropy.mean()))
    noisy = (perfect.exp() * 0.9 + 0.1 / perfect.shape[-1]).log()
    for log_probs, above in ((perfect, False), (noisy, True)):
        for row in risk_rows(0, tested, Seen(log_probs, [], [], [])):
            assert row["floor"] - 1e-9 <= row["low"] <= row["risk"] + 1e-9  # type: ignore[operator]
            assert (row["low"] > row["floor"] + 1e-3) == above  # type: ignore[operator]
            assert row["high"] < row["floor"] + (0.5 if above else 1e-6)  # type: ignore[operator]


def test_a_short_training_makes_a_sink_and_no_risk_on_triggers(
    trained: tuple[Frames, dict[str, pd.DataFrame]],
) -> None:
    frames, live = trained
    first, last = (frames["risks"].groupby("kind").nth(place).set_index("kind") for place in (0, -1))
    assert first["risk"]["triggers"] > 3
    assert last["risk"]["triggers"] < 0.1
    assert 0 < last["risk"]["others"] - last["floor"]["others"] < 0.25
    head = frames["heads"].iloc[-1]
    assert head["sink_others"] > 0.5
    assert head["sink_triggers"] < 0.1
    assert head["drain"] < 0.8
    assert np.allclose(frames["heads"][["mass_triggers", "mass_others"]], 1, atol=1e-5)
    assert list(live["training"].columns) == ["step", "risk on others", "risk on triggers"]
    assert list(live["sink, drain, peak"].columns) == ["step", "sink", "sink on triggers", "drain", "peak"]
    probes = frames["probes"]
    assert set(probes["token"]) == set(frames["task"]["token"])
    assert probes[probes["kind"] == "triggers"]["active"].all()


def test_all_weight_on_the_first_token_hurts_triggers_alone(trained: tuple[Frames, dict[str, pd.DataFrame]]) -> None:
    edits = by_edit(trained[0])
    hurt, spared = edits["sink", "triggers"], edits["sink", "others"]
    assert hurt["change_low"] > 2
    assert abs(spared["change"]) < 0.1
    assert hurt["change"] == pytest.approx(hurt["edited"] - hurt["plain"])
    assert edits["zero", "triggers"]["change_low"] > 2


def test_a_kept_checkpoint_loads_and_its_edits_are_the_houses(
    trained: tuple[Frames, dict[str, pd.DataFrame]], store: Path, task: Task
) -> None:
    frames = trained[0]
    (row,) = frames["checkpoints"].to_dict("records")
    assert row["step"] == SPEC.steps
    model = load(row["model"], store)
    tested = draw_tested(task, SPEC.tested, SPEC.length, seeded(SPEC.draw_seed + 1))
    text = BOS + "".join(task.characters[i - 1] for i in tested.tokens[0, 1:].tolist())
    assert model.encode(text) == tested.tokens[0].tolist()
    assert "".join(model.str_tokens(model.encode(text))) == text
    to_first = torch.zeros(SPEC.length, SPEC.length)
    to_first[:, 0] = 1
    house = {"sink": ReplacePattern(Site(0, "pattern"), to_first), "zero": Zero(Site(0, "z", head=0))}
    found = by_edit(frames)
    for edit, intervention in house.items():
        for column, edits in (("plain", ()), ("edited", (intervention,))):
            losses = cross_entropies(tested, model.logits(tested.tokens, edits).double().log_softmax(-1))
            for kind, mask in tested.masks.items():
                assert float(losses[mask].mean()) == pytest.approx(found[edit, kind][column], rel=1e-4, abs=1e-5)


def test_relu_rows_sum_to_anything_and_leave_no_checkpoint(tiny: Model) -> None:
    spec = LabSpec(attention="relu", steps=20, model_width=16, length=16, points=2, layers=2, heads=2)
    frames = LAB.run(tiny, INPUTS, spec, Context())
    assert frames["checkpoints"].empty
    heads = frames["heads"]
    assert not np.isclose(heads["mass_others"], 1, atol=0.01).any()
    assert len(heads) == 2 * 4
    assert frames["probes"]["active"].isna().all()
    edits = frames["interventions"]
    assert set(edits["layer"].dropna()) == {0, 1}
    assert edits["layer"].isna().sum() == 4, "all heads together, two edits, two kinds"
    assert tuple(LAB.figures(frames, spec)) == ("risks", "sink", "drain", "peak", "probes", "interventions")


def test_edits_end_with_their_block_and_the_seed_decides_all(task: Task) -> None:
    def made(seed: int) -> torch.nn.Module:
        return make_backcopy(
            len(task.characters), layers=1, heads=2, width=8, length=16, seed=seed, attention="softmax"
        )

    module, tokens = made(0), sample(task, 3, 16, seeded(0))
    plain = see(module, tokens)
    with edited(module, [(0, 1)], "sink"):
        pattern = see(module, tokens).patterns[0]
    assert torch.equal(pattern[:, 1, :, 0], torch.ones(3, 16))
    assert torch.equal(pattern[:, 0], plain.patterns[0][:, 0])
    assert torch.equal(see(module, tokens).log_probs, plain.log_probs)
    assert torch.equal(see(made(0), tokens).log_probs, plain.log_probs)
    assert not torch.equal(see(made(1), tokens).log_probs, plain.log_probs)
    assert torch.equal(plain.residuals[0], module.model.embed_tokens(tokens).norm(dim=-1))  # type: ignore[union-attr,operator]


def test_probes_end_in_every_character_and_never_follow_a_trigger(task: Task) -> None:
    probes = probe_tokens(task, 20, seeded(0))
    assert probes.shape == (16 * len(task.characters), 11)
    assert probes[:, -1].unique().tolist() == list(range(1, len(task.characters) + 1))
    assert task.is_other(probes[:, -2]).all()
    # Here every second token is the trigger, whatever is drawn.
    strict = read_task(["a b c d e "], 65, 1)
    assert strict.is_other(probe_tokens(strict, 16, seeded(0))[:, -2]).all()


def test_a_training_that_is_cancelled_stops(tiny: Model) -> None:
    told: list[float] = []

    def stop(fraction: float, _label: str) -> None:
        told.append(fraction)
        if fraction > 0.001:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        LAB.run(tiny, INPUTS, LabSpec(steps=100_000 // 10, model_width=8, length=8), Context(progress=stop))
    assert 0.001 < told[-1] < 0.01


def test_other_letters_are_unknown_and_line_ends_are_read() -> None:
    tokenizer = make_tokenizer(["a", " ", "\n"])
    assert tokenizer.encode("<s>a \nz") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        (Inputs(prompt="abcdef"), {"triggers": 5}, "triggers = 5: the text has 6 .* choose 1 to 4"),
        (Inputs(prompt="aaa bbb"), {}, "3 different characters: 4 are needed"),
        (INPUTS, {"heads": 3}, "model_width = 64 does not give 3 heads .* multiple of 6"),
        (INPUTS, {"heads": 8, "model_width": 8}, "model_width = 8 does not give 8 heads"),
        (INPUTS, {"shown_layer": 1, "shown_head": 0}, "shown_layer = 1: .* layers 0 to 0"),
        (INPUTS, {"shown_layer": 0}, "go together"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_begins(
    tiny: Model, inputs: Inputs, options: dict[str, int], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        LAB.check(tiny, inputs, LabSpec(**options))


def test_sequences_too_short_are_refused(tiny: Model) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 8"):
        LabSpec(length=7)
    # The trigger is the most frequent letter, yet nearly always after itself, so short sequences hold none.
    never = Inputs(prompt="a" * 2000 + "bcde" * 450)
    with pytest.raises(InputError, match=r"hold no triggers among 5 characters .* choose a longer length"):
        LAB.run(tiny, never, LabSpec(triggers=1, length=8, tested=10), Context())


def test_a_loss_that_is_no_number_ends_the_training(task: Task) -> None:
    module = make_backcopy(len(task.characters), layers=1, heads=1, width=8, length=8, seed=0, attention="softmax")
    with torch.no_grad():
        module.lm_head.weight.fill_(torch.nan)
    spec = LabSpec(model_width=8, length=8, rate=0.5)
    with pytest.raises(InputError, match=r"went astray at step 0: choose a rate below 0\.5"):
        train(module, task, spec, seeded(0), lambda *_: None, lambda _step: None)
