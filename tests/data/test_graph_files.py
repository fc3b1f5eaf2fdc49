"""circuit-tracer's graph JSON: both forms of ids read, the newer written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.artifacts import load_artifact, save_artifact
from data.graph_files import KIND, LIST, GraphFile, GraphNode, contents, graph_of, read_graph, write_graph
from data.graph_files.graph import cantor, uncantor
from hooks.errors import InputError

Change = Callable[[dict[str, Any]], None]


def a_graph() -> GraphFile:
    nodes = (
        GraphNode("feature", 0, 1, 7, "a plural", 0.5, 1.25),
        GraphNode("feature", 2, 2, 40, "", 0.25, 3.5),
        GraphNode("error", 1, 2, -1, "", 0.75),
        GraphNode("token", -1, 0, 11, "", 0.9),
        GraphNode("token", -1, 1, 4),
        GraphNode("logit", 4, 2, 99, 'Output " Paris" (p=0.900)', None, None, 0.9, True),
    )
    links = ((3, 0, 0.1), (4, 0, -2.0), (0, 1, 0.5), (2, 1, -0.25), (1, 5, 4.0), (2, 5, 1e-9))
    metadata = {"slug": "mine", "scan": "six", "prompt": "a b ⏎", "prompt_tokens": ["a", " b", "\n"],
                "node_threshold": 0.8, "info": {"generator": {"name": "x"}}, "transcoder_list": [],
                "schema_version": 1}  # fmt: skip
    view = {"linkType": "both", "clickedId": "2_40_2", "sg_pos": ""}
    return GraphFile(metadata, nodes, links, (("nouns", ("0_7_1", "2_40_2")),), ("4_99_2",), view)


def plain(graph: GraphFile) -> tuple[Any, ...]:
    """A graph without what every file says of every node."""
    nodes = [vars(node) | {"more": {k: v for k, v in node.more.items() if not k.endswith("_idx")}}
             for node in graph.nodes]  # fmt: skip
    return graph.metadata, nodes, graph.links, graph.supernodes, graph.pinned, graph.view


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_graph(a_graph(), tmp_path / "mine.json")
    return tmp_path / "mine.json"


def older(data: dict[str, Any]) -> None:
    """The ids of circuit-tracer 0.5 and before: errors are 0_{layer}_{position}."""
    data["nodes"][2] |= {"node_id": "0_1_2", "jsNodeId": "1_2-0"}
    for link in data["links"]:
        link["source"] = link["source"].replace("1_-1_2", "0_1_2")
    data["qParams"]["pinnedIds"] = ["0_1_2"]


def changed(path: Path, change: Change) -> Path:
    data = json.loads(path.read_text())
    change(data)
    other = path.with_name("other.json")
    other.write_text(json.dumps(data))
    return other


def test_what_is_written_is_read_again(written: Path) -> None:
    assert plain(read_graph(written)) == plain(a_graph())
    again = written.with_name("again.json")
    write_graph(read_graph(written), again)
    first, second = (json.loads(path.read_text()) for path in (written, again))
    assert second["metadata"].pop("slug") == "again"
    assert first["metadata"].pop("slug") == "mine"
    assert first == second


@pytest.mark.parametrize("change", [lambda node: node.pop("token_prob"), lambda node: node.update(token_prob=None)])
def test_a_probability_that_is_not_told_stays_untold(written: Path, change: Change) -> None:
    """Written as 0 it would take all influence."""
    found = read_graph(changed(written, lambda data: change(data["nodes"][5])))
    assert found.nodes[5].probability is None
    again = written.with_name("again.json")
    write_graph(found, again)
    said = json.loads(again.read_text())["nodes"]
    assert "token_prob" not in said[5]
    assert {node["token_prob"] for node in said[:5]} == {0.0}
    assert plain(read_graph(again))[1:] == plain(found)[1:]


def test_older_ids_are_the_same_graph(written: Path) -> None:
    found = read_graph(changed(written, older))
    wanted = a_graph()
    assert plain(found)[:4] == plain(wanted)[:4]
    assert found.pinned == ("1_-1_2",)


def test_the_keys_that_viewers_need(written: Path) -> None:
    data = json.loads(written.read_text())
    assert set(data) == {"metadata", "qParams", "nodes", "links"}
    assert data["qParams"] == {"linkType": "both", "clickedId": "2_40_2", "sg_pos": "", "pinnedIds": ["4_99_2"],
                               "supernodes": [["nouns", "0_7_1", "2_40_2"]]}  # fmt: skip
    feature, _, error, token, _, logit = data["nodes"]
    assert {key: feature[key] for key in ("node_id", "feature", "layer", "ctx_idx", "feature_type", "jsNodeId")} == {
        "node_id": "0_7_1", "feature": 35, "layer": "0", "ctx_idx": 1, "feature_type": "cross layer transcoder",
        "jsNodeId": "0_7-0",
    }  # fmt: skip
    assert (error["node_id"], error["feature"], error["layer"]) == ("1_-1_2", -1, "1")
    assert (token["node_id"], token["layer"], token["feature"], token["jsNodeId"]) == ("E_11_0", "E", 0, "E_11-0")
    assert (logit["node_id"], logit["layer"], logit["feature"], logit["jsNodeId"]) == ("4_99_2", "4", 99, "L_99-2")
    assert (logit["token_prob"], logit["is_target_logit"]) == (0.9, True)
    listed = json.loads((written.parent / LIST).read_text())
    assert [one["slug"] for one in listed["graphs"]] == ["mine"]
    assert listed["graphs"][0] == data["metadata"]


def test_the_list_keeps_other_graphs(written: Path) -> None:
    write_graph(a_graph(), written.with_name("second.json"))
    listed = json.loads((written.parent / LIST).read_text())["graphs"]
    assert [one["slug"] for one in listed] == ["mine", "second"]
    with pytest.raises(InputError, match="exists"):
        write_graph(a_graph(), written)
    for name, said in (
        ("x.pt", "pickles are not written"),
        ("x", r"ends in \.json"),
        (LIST, "slug"),
        ("a b.json", "slug"),
    ):
        with pytest.raises(InputError, match=said):
            write_graph(a_graph(), written.with_name(name))


def test_kept_as_an_artifact(workspace: Path) -> None:
    graph = a_graph()
    kept = save_artifact(workspace, "mine", KIND, *contents(graph))
    assert graph_of(load_artifact(workspace, "mine", KIND)) == graph
    with pytest.raises(InputError, match="does not hold a graph"):
        graph_of(save_artifact(workspace, "other", KIND, kept.tensors, {}))


def test_one_number_for_a_feature() -> None:
    assert cantor(0, 7) == 35
    assert [uncantor(cantor(layer, index)) for layer, index in ((0, 0), (25, 16383), (3, 5))] == [
        (0, 0), (25, 16383), (3, 5)]  # fmt: skip


def collide(data: dict[str, Any]) -> None:
    older(data)
    data["nodes"][0]["node_id"] = "0_1_2"
    data["links"] = [{"source": "0_1_2", "target": "2_40_2", "weight": 1.0}]


def told_by_layer(data: dict[str, Any]) -> None:
    """A feature and an error share an id; the link's target is a feature of layer 1, above the feature alone."""
    older(data)
    data["nodes"][0]["node_id"] = "0_1_2"
    data["nodes"][1] |= {"node_id": "1_40_2", "layer": "1"}
    links = (("0_1_2", "1_40_2"), ("1_40_2", "4_99_2"))
    data["links"] = [{"source": source, "target": target, "weight": 1.0} for source, target in links]


def test_an_id_of_two_nodes_is_told_apart_where_it_can_be(written: Path) -> None:
    found = read_graph(changed(written, told_by_layer))
    assert found.links == ((0, 1, 1.0), (1, 5, 1.0))
    with pytest.raises(InputError, match="the id of a feature and of an error"):
        read_graph(changed(written, collide))
