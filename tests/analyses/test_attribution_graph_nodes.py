"""Attribution graphs: shares that sum to 1, nodes that are ablated by name, clicks, kept names, low precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analyses._contract import Frames
from analyses._registry import registry
from analyses.attribution_graph import ANALYSIS, AttributionGraphSpec, run
from analyses.attribution_graph.asking import act, detail
from analyses.attribution_graph.changes import ablations
from analyses.attribution_graph.figures import figures, names
from data.artifacts import Artifact, load_artifact, save_artifact
from data.graph_files import KIND, GraphFile, GraphNode
from data.graph_files import contents as graph_contents
from hooks.errors import InputError
from hooks.load import load
from hooks.model import Model
from interp.runs import compute, read_spec
from interp.workbench import Workbench
from tests.analyses.attribution_toys import INPUTS, kept_transcoders, traced
from tests.analyses.in_memory import Kept, one


def shown(*nodes: GraphNode, links: tuple[tuple[int, int, float], ...] = ()) -> tuple[Frames, AttributionGraphSpec]:
    file = GraphFile({"slug": "s", "scan": "x", "prompt": "a b", "prompt_tokens": ["a", " b"]}, nodes, links)
    tensors, meta = graph_contents(file)
    artifact = Artifact("theirs", KIND, meta, tensors, "r")
    spec = AttributionGraphSpec(graph="theirs")
    return run(None, INPUTS, spec, Kept().context(use=lambda _field: artifact)), spec  # type: ignore[arg-type]


def test_shares_are_of_all_influence(tiny: Model) -> None:
    frames = traced(tiny, node_threshold=1.0, edge_threshold=1.0, target_mass=0.1, most_paths=100)
    nodes = frames["nodes"]
    assert 0 < one(nodes, kind="logit")["probability"].sum() < 0.5
    assert nodes[nodes["kind"].isin(["token", "error"])]["influence"].sum() == pytest.approx(1, abs=1e-4)
    into = frames["edges"][frames["edges"]["target"].isin(one(nodes, kind="logit")["node"])]
    assert into["influence"].sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("weight", [None, 0.0])
def test_without_influence_nothing_is_drawn_and_it_is_said(weight: float | None) -> None:
    logit = GraphNode("logit", 27, 1, 8, 'Output "x" (p=0.500)', probability=0.5)
    token = GraphNode("token", -1, 1, 5)
    for nodes in ((token, logit), (token,), (logit,), ()):
        linked = weight is not None and len(nodes) == 2
        frames, spec = shown(*nodes, links=((0, 1, 0.0),) if linked else ())
        graph = figures(frames, spec)["graph"]
        assert graph.layout.meta["weight"] == []
        said = " ".join(graph.layout.meta["notes"])
        assert "no influence reaches the tokens" in said
        assert "nan" not in said


def test_a_node_is_ablated_by_name_besides_the_others(tiny: Model) -> None:
    kept = kept_transcoders(tiny)
    first = traced(tiny, kept, node_threshold=1.0)
    nodes, others = first["nodes"], first["interventions"]
    wanted = next(node for node in one(nodes, kind="token")["node"] if node not in set(others["source"]))
    spec = AttributionGraphSpec(transcoders="mine", check_interventions=4, node_threshold=1.0, keep_as="g")
    found = act(first, spec, wanted)
    assert found is not None
    assert found[0] == "attribution_graph"
    assert "keep_as" not in found[1]
    again = read_spec(registry()[found[0]], dict(found[1]))
    assert again.ablate == (wanted,)  # type: ignore[attr-defined]
    second = run(tiny, INPUTS, again, kept.context(use=lambda _field: kept.artifacts["mine"]))  # type: ignore[arg-type]
    mine = one(second["interventions"], source=wanted)
    assert (mine["free"].abs() > 1e-4).any()
    assert np.allclose(mine["direct"], mine["held"], atol=1e-5)
    rest = second["interventions"][second["interventions"]["source"] != wanted]
    assert set(rest["source"]) == set(others["source"])
    assert rest["free"].tolist() == pytest.approx(others["free"].tolist(), abs=1e-5)
    alone = traced(tiny, kept, node_threshold=1.0, check_interventions=0, ablate=(wanted,))
    assert set(alone["interventions"]["source"]) == {wanted}
    assert "interventions" in names(AttributionGraphSpec(check_interventions=0, ablate=(wanted,)))


def test_a_click_tells_what_was_measured_or_else_the_edges(tiny: Model) -> None:
    frames, spec = traced(tiny, node_threshold=1.0), AttributionGraphSpec(transcoders="mine")
    checked = frames["interventions"]["source"].iloc[0]
    told = detail(frames, spec, "graph", checked, "")
    assert told is not None
    assert told["free"].tolist() == one(frames["interventions"], source=checked)["free"].tolist()
    logit = one(frames["nodes"], kind="logit")["node"].iloc[0]
    edges = detail(frames, spec, "graph", logit, "")
    assert edges is not None
    assert set(edges["target"]) == {logit}
    assert edges["influence"].is_monotonic_decreasing
    assert detail(frames, spec, "influence", checked, "") is None
    assert act(frames, spec, logit) is None
    assert act(frames, AttributionGraphSpec(graph="g"), checked) is None


def test_nodes_that_cannot_be_ablated_are_named(tiny: Model) -> None:
    logit = one(traced(tiny)["nodes"], kind="logit")["node"].iloc[0]
    with pytest.raises(InputError, match=r"unknown node to ablate '1_99_3': did you mean '"):
        traced(tiny, ablate=("1_99_3",))
    with pytest.raises(InputError, match="is a next token"):
        traced(tiny, ablate=(logit,))
    with pytest.raises(InputError, match="ablate 'Mary' cannot be read"):
        ANALYSIS.check(tiny, INPUTS, AttributionGraphSpec(ablate=("Mary",)))
    with pytest.raises(InputError, match="options graph and ablate"):
        ANALYSIS.check(tiny, INPUTS, AttributionGraphSpec(graph="g", ablate=("1_1_1",)))


def test_the_first_token_is_left_out_of_the_picture_and_errors_have_no_names(tiny: Model) -> None:
    frames = traced(tiny, node_threshold=1.0)
    first = next(node for node in frames["nodes"]["node"] if node.startswith("E_") and node.endswith("_0"))
    more = traced(tiny, node_threshold=1.0, ablate=(first,))
    pairs = len(one(more["interventions"], source=first))
    assert pairs > 0
    meta = ablations(more["interventions"]).layout.meta
    assert f"Left out, in the table: {pairs} pairs of the first token" in " ".join(meta["notes"])
    assert "Left out" not in " ".join(ablations(more["interventions"][more["interventions"]["source"] != first]
                                                ).layout.meta["notes"])  # fmt: skip
    graph = figures(frames, AttributionGraphSpec(transcoders="mine", most_edges=5000))["graph"].layout.meta
    named = {graph["nodes"]["kind"][place] for place, *_ in graph["named"]}
    assert "latent" in named
    assert "error" not in named


def test_another_graph_of_the_name_is_not_replaced_unless_asked(tiny: Model, tmp_path: Path) -> None:
    spec = AttributionGraphSpec(drawn=150, check_interventions=0, keep_as="g")
    bench = Workbench(tmp_path)
    save_artifact(bench.workspace, "g", KIND, {}, {"of": "another run"})
    with pytest.raises(InputError, match=r"a graph 'g' is there already: .*add --replace"):
        compute(bench.store, ANALYSIS, tiny, INPUTS, spec)
    assert load_artifact(bench.workspace, "g").meta["of"] == "another run"
    done = compute(bench.store, ANALYSIS, tiny, INPUTS, spec.model_copy(update={"replace": True}))
    assert load_artifact(bench.workspace, "g").meta["run"] == done.key


def test_in_bfloat16_ablations_run_and_agree_roughly(models_folder: Path) -> None:
    model = load("toy:random", models_folder, dtype="bfloat16")
    found = traced(model, node_threshold=1.0)["interventions"]
    assert found["source"].nunique() == 4
    assert np.isfinite(found[["held", "responding", "free"]].to_numpy(dtype=float)).all()
    assert np.allclose(found["direct"], found["held"], atol=0.05)
