"""Circuit agreement: on linear models every estimate is the truth; scores by their definitions; bad input.

More than 200 lines: the linear model and the tables by node serve every test here.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._contract import Context, Frames, Inputs
from analyses._pairs import ids_of
from analyses._registry import get
from analyses.circuit_agreement import ANALYSIS, CircuitAgreementSpec, check, run
from analyses.circuit_agreement.flow import flow_shares
from analyses.circuit_agreement.scoring import direction
from analyses.information_flow.reading import blocks
from analyses.information_flow.routes import Routes, stream
from data.artifacts import Artifact
from data.graph_files import GraphFile, GraphNode, contents
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.interventions import Patch
from hooks.metrics import log_prob, logit_diff
from hooks.model import Model
from hooks.pairs import PromptPair, align
from hooks.sites import Site
from tests.hooks.test_attribution import linear, set_part
from tests.pairs import OTHER, PAIR

BOTH = Inputs(pairs=(PAIR, OTHER))
KEYS = ["pair", "node"]


def frames(model: Model, *pairs: PromptPair, context: Context | None = None, **spec: object) -> Frames:
    return run(model, Inputs(pairs=pairs), CircuitAgreementSpec.model_validate(spec), context or Context())


def wide(found: Frames) -> pd.DataFrame:
    return found["values"].pivot(index=KEYS, columns="method", values="score")


def flat(model: Model) -> Model:
    """`linear`, with norms that are there but divide by a constant: beside their epsilon nothing else counts."""
    toy, paths = linear(model), model.anatomy
    places = [
        f"{paths.blocks}.{layer}.{path}" for layer in range(model.geometry.n_layers) for path in (paths.ln1, paths.ln2)
    ]
    for place in (*places, paths.final_norm):
        norm = copy.deepcopy(model.module.get_submodule(place))
        setattr(norm, "eps" if hasattr(norm, "eps") else "variance_epsilon", 1e8)
        norm.weight.data *= 1e4
        set_part(toy.module, place, norm)
    return toy


def test_on_a_linear_model_gradients_are_the_truth(any_tiny: Model) -> None:
    methods = ["atp", "eap", "eap_ig", "patching"]
    found = frames(flat(any_tiny), PAIR, OTHER, methods=methods, steps=3)
    scores = wide(found)
    assert scores["ablation"].abs().max() > 0.05
    for method in methods:
        np.testing.assert_allclose(scores[method], scores["ablation"], atol=2e-4, rtol=2e-3, err_msg=method)
    same = found | {"disagreements": found["disagreements"].head(0)}
    drawn = ANALYSIS.figures(same, CircuitAgreementSpec(methods=tuple(methods)))
    for name in ("disagreements", "where"):
        assert "No rank differs by half or more" in " ".join(drawn[name].layout.meta["notes"])
    # Nodes that do nothing at all (gated MLPs, silenced) are ordered by rounding.
    rows = found["prediction"].set_index(["measure", "method"])["mean"]
    assert all(rows["top", method] == 1 for method in methods)
    assert all(rows["sign", method] == 1 for method in methods)


def test_the_truth_is_a_run_with_the_corrupted_output(any_tiny: Model) -> None:
    scores = wide(frames(any_tiny, PAIR, methods=["patching"]))
    clean, corrupted = ids_of(any_tiny, align(any_tiny, PAIR))
    metric = logit_diff(any_tiny.single_token(PAIR.answer), any_tiny.single_token(PAIR.distractor))
    for node, site in (("L1H2", Site(1, "z", 2)), ("MLP0", Site(0, "mlp_out"))):
        for method, base, other, sign in (("ablation", clean, corrupted, 1), ("patching", corrupted, clean, -1)):
            edit = Patch(site, run_with_cache(any_tiny, other, [site])[site])
            runs = [float(metric(any_tiny.logits(base, edits)[:, -1])[0]) for edits in ([edit], [])]
            assert scores.loc[(0, node), method] == pytest.approx(sign * (runs[0] - runs[1]), abs=2e-5)


def test_a_nodes_edges_sum_to_its_attribution(any_tiny: Model) -> None:
    found = frames(any_tiny, PAIR, OTHER, methods=["eap", "atp", "edge_sizes", "eap_ig"], steps=2, layers=[1])
    scores = wide(found)
    np.testing.assert_allclose(scores["eap"], scores["atp"], atol=2e-5, rtol=1e-3)
    assert (scores["edge_sizes"] >= scores["eap_ig"].abs() - 1e-6).all()
    assert set(found["nodes"]["layer"]) == {1}
    assert scores["atp"].abs().max() > 1e-3


@pytest.mark.parametrize("name", ["logit_diff", "log_prob"])
def test_direct_effects_are_slopes_with_the_norm_frozen(any_tiny: Model, name: str) -> None:
    aligned = align(any_tiny, PAIR)
    clean, corrupted = ids_of(any_tiny, aligned)
    answer, distractor = aligned.answer_id, aligned.distractor_id
    metric = log_prob(answer) if name == "log_prob" else logit_diff(answer, distractor)
    last, scale = any_tiny.geometry.n_layers - 1, Site(None, "ln_final_scale")
    sites = [Site(0, "z"), Site(1, "mlp_out"), Site(last, "resid_post"), scale]
    near, far = (run_with_cache(any_tiny, ids, sites, last_only=True) for ids in (clean, corrupted))
    towards = direction(any_tiny, metric, near.logits[0, -1], near[scale][0, -1])
    change = torch.randn(any_tiny.geometry.d_model, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    norm, state, step = any_tiny.norm(None), near[sites[2]][0, -1].double(), 1e-4
    values = []
    for sign in (1, -1):
        centred = norm.centre(state + sign * step * change) / near[scale][0, -1].double() * norm.weight.double()
        centred = centred if norm.bias is None else centred + norm.bias.double()
        logits = centred @ any_tiny.W_U.double()
        logits = logits if any_tiny.b_U is None else logits + any_tiny.b_U.double()
        values.append(logits.log_softmax(-1)[answer] if name == "log_prob" else logits[answer] - logits[distractor])
    slope = float((values[0] - values[1]) / (2 * step))
    assert float(change @ towards) == pytest.approx(slope, rel=2e-3, abs=1e-4)
    scores = wide(frames(any_tiny, PAIR, methods=["dla"], metric=name))["dla"]
    moved = [(far[site] - near[site])[0, -1].double() for site in sites[:2]]
    head = moved[0][2] @ any_tiny.W_O(0)[2].double() @ towards
    assert scores[0, "L0H2"] == pytest.approx(float(head), abs=1e-5)
    assert scores[0, "MLP1"] == pytest.approx(float(moved[1] @ towards), abs=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.03])
def test_shares_of_the_flow_are_those_of_the_routes(any_tiny: Model, threshold: float) -> None:
    clean, _ = ids_of(any_tiny, align(any_tiny, PAIR))
    layers = range(any_tiny.geometry.n_layers)
    heads, mlps = flow_shares(any_tiny, clean, layers, threshold)
    routes, reached = Routes(threshold, renormalise=True), [clean.shape[1] - 1]
    routes.start(stream(layers[-1], reached[0]))
    with torch.no_grad():
        for block in blocks(any_tiny, clean):
            reached = routes.down(block, reached)
    listed = pd.DataFrame(routes.heads).groupby(["layer", "head"])["flow"].sum()
    for layer in layers:
        own = sum(share for node, share in routes.flow.items() if node.startswith(f"F{layer}."))
        assert float(mlps[layer]) == pytest.approx(own, abs=1e-5)
        for head in range(any_tiny.geometry.n_heads):
            assert float(heads[layer, head]) == pytest.approx(listed.get((layer, head), 0.0), abs=1e-5)
    assert 0 < float(heads.sum()) < any_tiny.geometry.n_layers


def test_frames_follow_from_the_values(tiny: Model) -> None:
    found = frames(tiny, PAIR, OTHER, steps=2, top=3, listed=5)
    scores = wide(found)
    nodes = found["nodes"]
    assert nodes["method"].nunique() == 8
    for method, part in nodes.groupby("method"):
        wanted = scores[method].groupby("node").mean()
        np.testing.assert_allclose(part.set_index("node")["mean"], wanted[part["node"]], atol=1e-12)
        assert part.sort_values("rank")["mean"].abs().is_monotonic_decreasing
    named = set(found["disagreements"]["node"]) | {"embed"}
    assert set(found["edges"]["source"]) <= named
    assert found["disagreements"].groupby("method").size().max() <= 5
    assert found["disagreements"]["check"].str.contains("component_ablation").all()


def test_a_node_leads_to_its_ablation(tiny: Model) -> None:
    spec = CircuitAgreementSpec(steps=2, top=3, metric="log_prob")
    found = run(tiny, BOTH, spec, Context())
    assert ANALYSIS.act is not None
    assert ANALYSIS.detail is not None
    for node, kind in (("MLP1", "mlp_out"), ("L2H3", "heads")):
        said = ANALYSIS.act(found, spec, node)
        assert said is not None
        other, options = said
        ablation = get(other)
        read = ablation.spec.model_validate(dict(options))
        table = ablation.run(tiny, BOTH, read, Context())["effects"]
        mine = found["nodes"].set_index(["method", "node"]).loc[("ablation", node)]
        rows = table[table["layer"] == mine["layer"]]
        rows = rows if kind == "mlp_out" else rows[rows["head"] == mine["head"]]
        assert rows["mean"].tolist() == pytest.approx([mine["mean"]], abs=2e-5)
        detail = ANALYSIS.detail(found, spec, "where", node, "")
        assert detail is not None
        assert len(detail) == 8
    assert ANALYSIS.act(found, spec, "logits") is None


def graph_file(prompt: str, *, layer: int = 2, covered: list[int] | None = None) -> Artifact:
    nodes = [GraphNode("token", -1, 0, 7), GraphNode("feature", 0, 1, 5), GraphNode("error", 0, 1, -1),
             GraphNode("feature", layer, 3, 9), GraphNode("logit", 4, 3, 11, probability=1.0)]  # fmt: skip
    links = ((0, 1, 1.0), (1, 3, 3.0), (2, 3, 1.0), (3, 4, 2.0), (1, 4, -2.0))
    about = {
        "slug": "mine",
        "scan": None,
        "prompt": prompt,
        "prompt_tokens": ["a", "b", "c", "d"],
        "info": {"transcoder_layers": covered},
    }
    tensors, meta = contents(GraphFile(about, tuple(nodes), links))
    return Artifact("mine", "graph", meta, tensors, "r")


def test_a_feature_graph_gives_each_mlp_its_influence(tiny: Model) -> None:
    context = Context(use=lambda _field: graph_file(f"<s>{OTHER.clean}"))
    common = {"context": context, "graph": "mine", "methods": ["atp"]}
    found = frames(tiny, PAIR, OTHER, **common)
    rows = found["values"][found["values"]["method"] == "graph"]
    assert set(rows["pair"]) == {1}
    # Half of the logit's influence through layer 2, of which three quarters come from layer 0's feature.
    assert dict(zip(rows["node"], rows["score"], strict=True)) == pytest.approx({"MLP0": 0.875, "MLP1": 0, "MLP2": 0.5})
    told = Context(use=lambda _field: graph_file(PAIR.clean, covered=[0, 2]))
    some = frames(tiny, PAIR, **common | {"context": told})["values"]
    assert some[some["method"] == "graph"]["node"].tolist() == ["MLP0", "MLP2"]
    with_errors = frames(tiny, PAIR, OTHER, graph_errors=True, **common)["values"]
    assert with_errors[with_errors["method"] == "graph"]["score"].max() == pytest.approx(1.0)
    drawn = ANALYSIS.figures(found, CircuitAgreementSpec(graph="mine", methods=("atp",), draw="graph"))
    assert "feature graph: 1 of 2 pairs" in " ".join(drawn["truth"].layout.meta["notes"])
    assert "over 3 MLPs" in " ".join(drawn["agreement"].layout.meta["notes"])


def test_a_graph_of_something_else_is_refused(tiny: Model) -> None:
    for given, said in ((graph_file("The red book"), "none of the clean prompts"),
                        (graph_file(PAIR.clean, covered=[2]), "layers 2, in fewer than 2 of the layers compared"),
                        (graph_file(PAIR.clean, layer=3), "it is of another model")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            frames(tiny, PAIR, context=Context(use=lambda _field, given=given: given), graph="mine")


def test_figures_draw_the_method_that_is_chosen(tiny: Model) -> None:
    found = frames(tiny, PAIR, steps=2, top=3, listed=4)
    spec = CircuitAgreementSpec(steps=2, top=3, listed=4, draw="flow", compare="signed")
    drawn = ANALYSIS.figures(found, spec)
    assert drawn["truth"].layout.meta["title"] == "Flow routes against ablation"
    assert "flow routes" not in drawn["agreement"].layout.meta["x_labels"]
    missing = set(drawn["where"].layout.meta["nodes"]["node"])
    wrong = found["disagreements"]
    assert set(wrong.loc[wrong["method"] == "flow", "node"]) <= missing
    node = wrong.loc[wrong["method"] == "flow", "node"].iloc[0]
    assert ANALYSIS.figures(found, spec.model_copy(update={"focus": node}))["where"].layout.meta["focus"] == node
    alone = frames(tiny, PAIR, methods=["dla"], top=1)
    assert alone["edges"].empty
    # One node has no rank correlation.
    assert alone["prediction"].set_index("measure")["mean"].isna().to_dict()["among"]
    assert "no edge is left to draw" in " ".join(
        ANALYSIS.figures(alone, CircuitAgreementSpec(methods=("dla",), top=1))["where"].layout.meta["notes"]
    )


def test_what_does_not_exist_is_refused(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="valid layers are 0 to 2"):
        check(tiny, BOTH, CircuitAgreementSpec(layers=(3,)))
    with pytest.raises(InputError, match="draw = 'flow' is not computed: this run has atp"):
        check(tiny, BOTH, CircuitAgreementSpec(methods=("atp",), draw="flow"))
    with pytest.raises(InputError, match="are the same token"):
        check(tiny, Inputs(pairs=(replace(PAIR, distractor=PAIR.answer),)), CircuitAgreementSpec())
    monkeypatch.setattr("analyses._circuits.pairs.LEAST_GAP", 1e9)
    with pytest.raises(InputError, match=r"no total effect to trace: logit_diff .* all 2 pairs"):
        frames(tiny, PAIR, OTHER)
