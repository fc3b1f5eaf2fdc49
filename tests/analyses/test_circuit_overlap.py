"""Circuit overlap: counts by hand, a circuit against itself, chance, intervals, and what cannot be compared.

More than 200 lines: the pairs and the circuits made by hand serve every test here.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import stdtrit

from analyses._circuits.kept import KIND, Circuit, circuit_of, circuit_shaped, contents
from analyses._circuits.pairs import digest
from analyses._circuits.scoring import Scoring, score_pairs
from analyses._circuits.selection import nodes_of, select
from analyses._contract import Context, Frames, Inputs
from analyses.circuit_overlap import ANALYSIS, CircuitOverlapSpec
from analyses.circuit_overlap.comparing import shared
from analyses.circuit_overlap.intervals import jackknife
from analyses.circuit_overlap.ranking import correlation
from analyses.circuit_overlap.selections import Chosen, Prompts
from analyses.circuit_overlap.sides import KEPT, Side, asked_sizes, like
from data.artifacts import Artifact, load_artifact, save_artifact
from data.prompt_sets import generate
from hooks.edges import edge_graph
from hooks.errors import InputError
from hooks.load import load
from hooks.metrics import logit_diff
from hooks.model import Model
from hooks.pairs import PromptPair, align

SIZES = (30, 60)
QUICK: dict[str, Any] = {"steps": 2, "sizes": SIZES, "splits": 2, "random_draws": 3}


@pytest.fixture(scope="module")
def inputs(models_folder: Path) -> Inputs:
    model = load("toy:random", models_folder)
    return Inputs(pairs=tuple(one.pair for one in generate("ioi", model, limit=6, seed=1).aligned), set_name="ioi")


def circuit(model: Model, inputs: Inputs, size: int = 20, method: str = "eap", **about: Any) -> Circuit:
    """The circuit that edge attribution would keep, greedily chosen."""
    graph = edge_graph(model.geometry)
    aligned = [align(model, pair) for pair in inputs.pairs]
    metrics = [logit_diff(one.answer_id, one.distractor_id) for one in aligned]
    scored = score_pairs(model, graph, aligned, metrics, Scoring(method, steps=2), Context())  # type: ignore[arg-type]
    kept = select(graph, scored.mean, "greedy", size=size)
    told = {"method": method, "metric": "logit_diff", "task": "mine", "selection": "greedy", "size": size,
            "threshold": 0.0, "seen": [digest(pair) for pair in inputs.pairs]} | about  # fmt: skip
    return Circuit(graph, scored.mean, kept, told, scored.scores)


def artifact(model: Model, one: Circuit, name: str = "mine") -> Artifact:
    tensors, meta = contents(model, one)
    return Artifact(name, KIND, meta, tensors, "0")


def compared(model: Model, inputs: Inputs, used: dict[str, Any] | None = None, **spec: Any) -> Frames:
    used = used or {}
    options = CircuitOverlapSpec(**QUICK | dict.fromkeys(used, "named") | spec)
    ANALYSIS.check(model, inputs, options)
    return ANALYSIS.conform(ANALYSIS.run(model, inputs, options, Context(use=used.__getitem__)))


def test_shared_counts_by_hand() -> None:
    """Edges 1 2 3 and 2 3 4 5; nodes embed, two heads, an MLP, logits: 1 and 2 against 2 and 3."""
    heads = np.array([False, True, True, False, False])
    one = Chosen(np.array([1, 2, 3]), np.array([False, True, True, False, False]))
    other = Chosen(np.array([2, 3, 4, 5]), np.array([False, False, True, True, False]))
    edges, nodes, only_heads = shared(one, other, heads)
    assert edges.tolist() == pytest.approx([2 / 5, 2 / 3, 2 / 4])
    assert nodes.tolist() == pytest.approx([1 / 3, 1 / 2, 1 / 2])
    assert only_heads.tolist() == pytest.approx([1 / 2, 1 / 2, 1.0])
    nothing = Chosen(np.array([], dtype=int), np.zeros(5, dtype=bool))
    assert np.isnan(shared(nothing, nothing, heads)).all()
    assert np.isnan(shared(one, nothing, heads)).all(), "no circuit of that size, rather than one that shares nothing"


def test_a_circuit_compared_with_itself_shares_everything(tiny: Model, inputs: Inputs) -> None:
    """Pairs that both have are left out of both together, so there is nothing to be uncertain of."""
    kept = artifact(tiny, circuit(tiny, inputs))
    frames = compared(tiny, inputs, {"first": kept}, methods=("eap",))
    overlap, ranks = frames["overlap"], frames["ranks"]
    assert set(overlap["asked"]) == set(SIZES)
    assert np.allclose(overlap[["mean", "low", "high"]], 1)
    assert np.allclose(ranks[["mean", "low", "high"]], 1)
    # Halves are never of the same pairs, so they say what two halves of one say.
    assert np.allclose(overlap["halves"], overlap["ceiling_first"])
    assert np.allclose(overlap["ceiling_first"], overlap["ceiling_second"])
    assert (overlap["halves"] < 1).any()
    assert (overlap["prompts"] == 6).all()


def test_overlap_is_of_the_circuits_that_selection_gives(tiny: Model, inputs: Inputs) -> None:
    frames = compared(tiny, inputs, methods=("eap", "clean_corrupted"))
    made = [circuit(tiny, inputs, method=method) for method in ("eap", "clean_corrupted")]
    first, second = (select(one.graph, one.scores, "greedy", size=60) for one in made)
    rows = frames["overlap"].set_index(["asked", "what", "measure"])
    assert rows.loc[(60, "edges", "Jaccard"), "mean"] == pytest.approx((first & second).sum() / (first | second).sum())
    assert rows.loc[(60, "edges", "share of second"), "mean"] == pytest.approx((first & second).sum() / second.sum())
    inside = nodes_of(made[0].graph, first)
    names = {name for name, one in zip(made[0].graph.nodes, inside, strict=True) if one} - {"embed", "logits"}
    members = frames["members"][(frames["members"]["circuit"] == "ioi, EAP") & (frames["members"]["asked"] == 60)]
    assert set(members["node"]) == names
    circuits = frames["circuits"].set_index(["circuit", "asked"])
    assert circuits.loc[("ioi, EAP", 60), "edges"] == first.sum()
    assert circuits.loc[("ioi, EAP", 60), "nodes"] == len(names)
    whole = frames["ranks"][frames["ranks"]["over"] == "all edges"].set_index("measure")["mean"]
    assert whole.tolist() == pytest.approx(correlation(made[0].scores, made[1].scores).tolist())


def test_random_sets_share_what_the_hypergeometric_says(tiny: Model, inputs: Inputs) -> None:
    frames = compared(tiny, inputs)
    rows = frames["overlap"].set_index(["asked", "what", "measure"])
    counts = frames["circuits"].set_index(["circuit", "asked"])["heads"]
    second = list(frames["circuits"]["circuit"].unique())[1]
    every = tiny.geometry.n_layers * tiny.geometry.n_heads
    for size in SIZES:
        assert rows.loc[(size, "heads", "share of first"), "sets"] == pytest.approx(
            counts[second, size] / every, abs=0.03
        )
    assert rows.xs("edges", level="what")["sets"].isna().all()
    assert rows["random"].notna().all()


def test_unrelated_scores_correlate_over_everything_only_by_chance() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 4000))
    assert np.abs(correlation(one, other)).max() < 0.05
    assert correlation(one, -one).tolist() == pytest.approx([1.0, -1.0])
    assert np.isnan(correlation(one, np.zeros(4000))).all()


def test_the_jackknife_of_means_is_students_interval() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.standard_normal(7), rng.standard_normal(9)
    left = np.array([np.delete(one, i).mean() for i in range(7)])
    found = jackknife(np.asarray(one.mean()), left, ["a"] * 7)
    reach = stdtrit(6, 0.975) * one.std(ddof=1) / np.sqrt(7)
    assert [float(found.low), float(found.high)] == pytest.approx([one.mean() - reach, one.mean() + reach])
    value = one.mean() - other.mean()
    both = np.concatenate([left - other.mean(), [one.mean() - np.delete(other, i).mean() for i in range(9)]])
    found = jackknife(np.asarray(value), both, ["a"] * 7 + ["b"] * 9)
    reach = stdtrit(14, 0.975) * np.sqrt(one.var(ddof=1) / 7 + other.var(ddof=1) / 9)
    assert [float(found.low), float(found.high)] == pytest.approx([value - reach, value + reach])
    assert np.isnan(jackknife(np.asarray(1.0), np.zeros(1), ["a"]).low)


def test_blocks_and_halves_are_the_same_wherever_a_pair_is(tiny: Model, inputs: Inputs) -> None:
    whole = circuit(tiny, inputs)
    seen = tuple(whole.about["seen"])
    sides = [Side(name, KEPT, "", "", "eap", "", whole, None, None, part, "greedy") for name, part in
             (("a", seen), ("b", seen[:4]), ("c", tuple(f"x{i}" for i in range(70))))]  # fmt: skip
    prompts = Prompts.of(sides, 3, 0)
    assert [prompts.sample[prompts.block[pair]] for pair in seen] == [(0, 1)] * 4 + [(0,)] * 2
    blocks = [prompts.block[pair] for pair in sides[2].seen]
    assert len(set(blocks)) == 32
    assert not set(blocks) & {prompts.block[pair] for pair in seen}
    for half in prompts.halves:
        assert sum(half[pair] for pair in sides[2].seen) == 35
        assert sum(half[pair] for pair in seen[:4]) == 2


def test_labels_make_a_circuit_each(tiny: Model, inputs: Inputs) -> None:
    frames = compared(tiny, inputs, methods=("eap",), by_label=True)
    labels = [pair.label for pair in inputs.pairs]
    names = [f"ioi: {label}, EAP" for label in dict.fromkeys(labels)]
    assert list(dict.fromkeys(frames["circuits"]["circuit"])) == names
    mine = Inputs(pairs=tuple(pair for pair in inputs.pairs if pair.label == labels[0]))
    one = circuit(tiny, mine)
    rows = frames["circuits"].set_index(["circuit", "asked"])
    assert rows.loc[(names[0], 60), "edges"] == select(one.graph, one.scores, "greedy", size=60).sum()
    assert rows.loc[(names[0], 60), "pairs"] == len(mine.pairs)


def test_two_kept_circuits_are_compared_as_they_were_kept(tiny: Model, inputs: Inputs) -> None:
    one, other = circuit(tiny, inputs, 20), circuit(tiny, inputs, 25, "clean_corrupted")
    used = {"first": artifact(tiny, one), "second": artifact(tiny, other, "yours")}
    frames = compared(tiny, inputs, used, methods=("eap",))
    rows = frames["overlap"]
    as_kept = rows[rows["asked"].isna() & (rows["what"] == "edges") & (rows["measure"] == "Jaccard")]
    assert as_kept[["first", "second"]].to_numpy().tolist() == [["mine", "yours"]]
    value = (one.kept & other.kept).sum() / (one.kept | other.kept).sum()
    assert as_kept["mean"].item() == pytest.approx(value)
    assert as_kept["low"].item() <= value <= as_kept["high"].item()


def test_acdc_stands_at_its_own_size_without_an_interval(tiny: Model, inputs: Inputs) -> None:
    found = replace(circuit(tiny, inputs, 18, method="eap"), pair_scores=None)
    cut = replace(found, about=found.about | {"method": "acdc", "selection": "acdc"})
    frames = compared(tiny, inputs, {"first": artifact(tiny, cut)}, methods=("eap", "clean_corrupted"))
    size, overlap, ranks = int(cut.kept.sum()), frames["overlap"], frames["ranks"]
    mine = overlap[overlap["second"] == "mine"]
    assert set(mine["asked"]) == {size}
    assert mine["low"].isna().all()
    assert mine["mean"].notna().all()
    assert set(overlap[overlap["second"] != "mine"]["asked"]) == {size, *SIZES}
    assert "mine" not in set(ranks["second"])
    for options in ({}, {"shown_second": "mine"}, {"shown_second": "mine", "shown_size": 60}):
        drawn = ANALYSIS.figures(frames, CircuitOverlapSpec(**QUICK | options))
        assert tuple(drawn) == ANALYSIS.pictures(CircuitOverlapSpec())  # type: ignore[misc]
        at = size if options else 30
        assert f"{at} edges chosen" in drawn["shares"].layout.meta["title"]


def test_another_model_of_this_shape(tiny: Model, inputs: Inputs, models_folder: Path) -> None:
    frames = compared(tiny, inputs, {"other_model": load("toy:random", models_folder)}, methods=("eap",))
    assert np.allclose(frames["overlap"]["mean"], 1)
    assert len(frames["pairs"]) == 2 * len(inputs.pairs)
    with pytest.raises(InputError, match=r"different shapes do not correspond \(.*family gpt2 instead of llama"):
        like(tiny, load("toy:gpt2", models_folder))


def test_scores_by_pair_are_kept_and_read(tiny: Model, inputs: Inputs, workspace: Path) -> None:
    one = circuit(tiny, inputs)
    save_artifact(workspace, "mine", KIND, *contents(tiny, one))
    again = circuit_of(load_artifact(workspace, "mine", KIND), tiny)
    assert one.pair_scores is not None
    assert again.pair_scores is not None
    assert np.allclose(again.pair_scores, one.pair_scores, atol=1e-6)
    assert (again.kept == one.kept).all()
    assert "pair_scores" not in contents(tiny, replace(one, pair_scores=None))[0]
    tensors, meta = contents(tiny, one)
    other = Artifact("mine", KIND, meta | {"geometry": meta["geometry"] | {"d_model": 8}}, tensors, "0")
    with pytest.raises(InputError, match="of another shape"):
        circuit_shaped(other, tiny)
    stranger = Artifact("mine", KIND, meta | {"model": meta["model"] | {"revision": "other"}}, tensors, "0")
    assert (circuit_shaped(stranger, tiny).kept == one.kept).all(), "a checkpoint of the same shape is read"
    with pytest.raises(InputError, match="is of a model of revision 'other'"):
        circuit_of(stranger, tiny)


def test_what_cannot_be_compared_is_told(tiny: Model, inputs: Inputs) -> None:
    mine = artifact(tiny, circuit(tiny, inputs))
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({}, {"methods": ("eap",)}, "nothing to compare with: name a kept circuit"),
        ({}, {"methods": ("eap", "eap")}, "name each method once"),
        ({}, {"sizes": (100_000,)}, "option sizes 100000: this graph has"),
        ({}, {"shown_size": 11}, "option shown_size 11: valid are 30, 60"),
        ({}, {"metric": "divergence"}, "no slope in the clean run"),
        ({}, {"methods": ("exact", "eap"), "edge_budget": 5}, "edge_budget allows 5"),
        ({"first": mine, "second": mine}, {}, "named twice"),
        ({"first": mine}, {"layers": (0, 1)}, "is of layers 0 to 2; say --layers likewise"),
        ({"first": Artifact("odd", KIND, {}, {}, "0")}, {}, "does not hold a circuit"),
    ]
    for used, spec, said in cases:
        with pytest.raises(InputError, match=said):
            compared(tiny, inputs, used, **spec)
    alone = Inputs(pairs=tuple(PromptPair(p.clean, p.corrupted, p.answer, p.distractor) for p in inputs.pairs))
    with pytest.raises(InputError, match="at least two labels"):
        compared(tiny, alone, by_label=True)
    frames = compared(tiny, inputs)
    with pytest.raises(InputError, match=r"circuit \(option shown_first\)"):
        ANALYSIS.figures(frames, CircuitOverlapSpec(**QUICK, shown_first="nobody's"))


def test_one_pair_has_no_interval_and_no_ceiling(tiny: Model, inputs: Inputs) -> None:
    frames = compared(tiny, Inputs(pairs=inputs.pairs[:1]))
    overlap: pd.DataFrame = frames["overlap"]
    assert overlap[["low", "high", "halves", "ceiling_first"]].isna().all(axis=None)
    assert overlap["mean"].notna().all()


def test_where_no_circuit_is_so_small_pictures_say_so(tiny: Model, inputs: Inputs) -> None:
    frames = compared(tiny, inputs)
    empty = frames["overlap"].assign(**dict.fromkeys(frames["overlap"].columns[5:-1], np.nan))
    nothing = frames | {"overlap": empty, "ranks": frames["ranks"].iloc[:0]}
    drawn = ANALYSIS.figures(nothing, CircuitOverlapSpec(**QUICK))
    for name in ("edges", "heads", "ranks"):
        assert [trace.name for trace in drawn[name].data if trace.name] == ["nothing to compare"]
    assert drawn["shares"].layout.meta["title"]


def test_sizes_grow_by_doubling(tiny: Model) -> None:
    graph = edge_graph(tiny.geometry)
    sizes = asked_sizes(graph, ())
    assert all(later == 2 * earlier for earlier, later in pairwise(sizes))
    assert sizes[-1] <= graph.n_edges // 4
    assert asked_sizes(graph, (30, 10, 30)) == [10, 30]
