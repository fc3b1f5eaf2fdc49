"""The circuit of the attention-only toy is known: how much of it each method finds, on one draw of pairs.

Copying there can only be: a head of the first layer attends to the token before and writes which it was; a head of the
second compares its query with that, and writes the token that it finds. Three kinds of corruption touch all of it: of
the token to be copied, of the token before it, of the token that is read.

Of its twelve edges the 16 strongest must hold eleven for exact patching and EAP-IG, and eight for EAP and the mean of
both ends, which miss some; on other pairs the counts differ by a few. ACDC must leave all twelve.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from analyses._circuits.scoring import AnyMethod
from analyses._contract import Context, Frames, Inputs
from analyses._stats import auroc
from analyses.circuit_evaluation import EvaluationSpec
from analyses.circuit_evaluation.computing import run as evaluate
from analyses.edge_attribution import EdgeAttributionSpec
from analyses.edge_attribution.computing import run
from hooks.capture import run_with_cache
from hooks.checkpoints.toy_training import copying_accuracy, repeated_tokens
from hooks.edges import edge_graph
from hooks.load import load
from hooks.model import Model
from hooks.pairs import PromptPair
from hooks.sites import Site

BOTH = (0, 1)
MOVING = {f"embed->L0G{one}.v" for one in BOTH} | {f"L0H{one}->L1G{two}.k" for one in BOTH for two in BOTH}
FINDING = {f"embed->L1H{one}.q" for one in BOTH}
COPYING = {f"embed->L1G{one}.v" for one in BOTH} | {f"L1H{one}->logits" for one in BOTH}
CORE = MOVING | FINDING | COPYING
LOOKING_BACK = {f"embed->L0H{one}.q" for one in BOTH} | {f"embed->L0G{one}.k" for one in BOTH}
"""How the first layer's heads find the token before: small changes, for the distance alone decides it."""


@pytest.fixture(scope="module")
def toy(models_folder: Path) -> Model:
    return load("toy:attention-only", models_folder)


@pytest.fixture(scope="module")
def pairs(toy: Model) -> tuple[PromptPair, ...]:
    """Four pairs of each kind: twelve words, then the first six of them again."""
    words = [text for text in toy.str_tokens(range(toy.geometry.d_vocab)) if text[:1] == " " and text[1:].isalpha()]
    words = [word for word in words if len(toy.encode(word)) == 1]
    random = np.random.default_rng(0)
    found = []
    for kind in ("copied", "before", "read") * 4:
        first = random.choice(words, size=13, replace=False).tolist()
        other = first.pop()
        clean = first + first[:6]
        changed, wrong = list(clean), first[9]
        if kind == "copied":
            changed[6] = wrong = other
        elif kind == "before":
            changed[5], changed[8] = changed[8], changed[5]
        else:
            changed[-1] = first[8]
        found.append(PromptPair("".join(clean), "".join(changed), first[6], wrong, kind))
    return tuple(found)


def traced(toy: Model, pairs: tuple[PromptPair, ...], **spec: object) -> Frames:
    return run(toy, Inputs(pairs=pairs), EdgeAttributionSpec.model_validate(spec), Context())


def test_the_induction_toy_without_mlps_copies_by_attention_alone(toy: Model) -> None:
    tokens, period = repeated_tokens(toy.geometry.d_vocab, 4, 40, torch.Generator().manual_seed(5))
    assert copying_accuracy(toy.module, seed=77) >= 0.9
    kept = run_with_cache(toy, tokens, [Site(0, "mlp_out"), Site(1, "mlp_out"), Site(1, "pattern")])
    assert not kept[Site(0, "mlp_out")].any()
    assert not kept[Site(1, "mlp_out")].any()
    # The second layer looks at the token after the one that is read.
    reads = torch.arange(period + 1, 40)
    assert kept[Site(1, "pattern")][:, :, reads, reads - period + 1].mean() > 0.5


@pytest.mark.parametrize(
    ("method", "area", "core"),
    [
        ("eap", 0.85, 8),
        ("clean_corrupted", 0.85, 8),
        ("eap_ig_inputs", 0.95, 11),
        ("eap_ig_activations", 0.95, 11),
        ("exact", 0.95, 11),
    ],
)
def test_most_of_the_induction_toys_circuit_has_the_best_scores(
    toy: Model, pairs: tuple[PromptPair, ...], method: AnyMethod, area: float, core: int
) -> None:
    edges = traced(toy, pairs, method=method, steps=8, size=16)["edges"]
    assert len(edges) == edge_graph(toy.geometry).n_edges == 46
    known = edges["edge"].isin(CORE).to_numpy()
    assert float(auroc(edges["mean"].abs().to_numpy(), known).value) >= area
    assert known[edges["rank"] <= 16].sum() >= core
    # Whatever goes in at the start and comes out at the end is among them, and helps.
    ends = edges.set_index("edge").loc[sorted(COPYING), "mean"]
    assert (ends < -1).all()
    silent = edges[edges["source"].str.startswith("MLP") | edges["input"].str.startswith("MLP")]
    np.testing.assert_allclose(silent["mean"], 0, atol=1e-5)


def test_acdc_leaves_the_induction_toys_circuit(toy: Model, pairs: tuple[PromptPair, ...]) -> None:
    found = traced(toy, pairs, method="acdc", threshold=0.5)
    kept = set(found["edges"].loc[found["edges"]["kept"], "edge"])
    assert kept >= CORE
    assert len(kept - CORE - LOOKING_BACK) <= 2
    assert found["circuit"]["faithfulness"].iloc[0] > 0.9


def test_the_induction_toys_circuit_is_faithful_and_random_ones_are_not(
    toy: Model, pairs: tuple[PromptPair, ...]
) -> None:
    spec = EvaluationSpec(sizes=(16,), method="eap_ig_activations", steps=8, draws=4, nodes_out=0)
    rows = evaluate(toy, Inputs(pairs=pairs), spec, Context())["curves"]
    rows = rows[rows["measure"] == "faithfulness"].set_index("whose")
    assert rows.loc["found", "mean"] > 0.8
    assert rows.loc["random", "mean"] < 0.5
    assert rows.loc["random, same nodes", "mean"] < rows.loc["found", "low"]
