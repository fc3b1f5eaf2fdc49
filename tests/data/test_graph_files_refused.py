"""Graph files that could not be shown are refused when they are read: the file, the node or field, what is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.graph_files import LIST, read_graph, write_graph
from hooks.errors import InputError
from tests.data.test_graph_files import Change, a_graph, changed


@pytest.fixture
def there(tmp_path: Path) -> Path:
    write_graph(a_graph(), tmp_path / "mine.json")
    return tmp_path / "mine.json"


def link(source: str, target: str, weight: Any = 1.0) -> Change:
    return lambda data: data["links"].append({"source": source, "target": target, "weight": weight})


def node(place: int, **keys: Any) -> Change:
    return lambda data: data["nodes"][place].update(keys)


def metadata(**keys: Any) -> Change:
    return lambda data: data["metadata"].update(keys)


def info(**keys: Any) -> Change:
    return metadata(info=keys)


def weightless(data: dict[str, Any]) -> None:
    for one in data["links"]:
        one["weight"] = 0


def without_logits(data: dict[str, Any]) -> None:
    data["nodes"].pop()
    data["links"] = [one for one in data["links"] if one["target"] != "4_99_2"]


def second_logit(data: dict[str, Any]) -> None:
    data["nodes"].append({**data["nodes"][5], "node_id": "4_98_2", "token_prob": None})


NO_INFLUENCE = "no influence reaches any node: "
CASES: list[tuple[Change, str]] = [
    (lambda data: data.pop("links"), "no 'links'"),
    (lambda data: data.update(nodes={}), "no 'nodes'"),
    (lambda data: data["metadata"].pop("prompt_tokens"), "no 'prompt_tokens'"),
    (lambda data: data["nodes"].append({}), "node 7 has no node_id"),
    (node(0, feature_type="lorsa"), "unknown feature_type 'lorsa'"),
    (lambda data: data["nodes"].append(data["nodes"][0]), "two nodes are feature 0_7_1"),
    (link("0_8_1", "2_40_2"), "link 7 has source '0_8_1', which is no node"),
    (link("4_99_2", "2_40_2"), "leaves a logit"),
    (link("0_7_1", "E_4_1"), "goes into a token"),
    (link("0_7_1", "1_-1_2"), "goes into an error"),
    (link("2_40_2", "0_7_1"), "cycle.*0_7_1 → 2_40_2 → 0_7_1|cycle.*2_40_2 → 0_7_1 → 2_40_2"),
    (lambda data: data["links"].append({}), "needs source, target and weight"),
    (lambda data: data["qParams"].update(supernodes=["x"]), "supernodes"),
    (lambda data: data["qParams"].update(supernodes=5), "supernodes"),
    (lambda data: data["qParams"].update(pinnedIds="4_99_2"), "pinnedIds is '4_99_2', wanted is a list"),
    # numbers
    (link("0_7_1", "2_40_2", None), r"link 7 \(0_7_1 → 2_40_2\): weight is None, wanted is a number"),
    (link("0_7_1", "2_40_2", "much"), "weight is 'much'"),
    (link("0_7_1", "2_40_2", float("nan")), "weight is nan"),
    (link("0_7_1", "2_40_2", float("inf")), "weight is inf"),
    (link("0_7_1", "2_40_2", 10**400), "weight is 1000"),
    (node(0, activation="nan"), r"node 1 \(0_7_1\): activation is 'nan', wanted is a number"),
    (node(0, influence=float("nan")), "influence is nan"),
    (node(5, token_prob=-1), r"node 6 \(4_99_2\): token_prob is -1, wanted is a number from 0 to 1"),
    (node(5, token_prob=1.5), "token_prob is 1.5"),
    (node(5, token_prob=float("nan")), "token_prob is nan"),
    (node(5, token_prob="0.9"), "token_prob is '0.9'"),
    (second_logit, "some of its logits have a token_prob and some have none"),
    (node(0, promotes="abc"), "promotes is 'abc', wanted is a list of texts"),
    (node(0, promotes=[1, None]), r"promotes is \[1, None\]"),
    # places
    (node(0, ctx_idx=77), r"node 1 \(0_7_1\): ctx_idx is 77, .*3 prompt_tokens, from 0 to 2"),
    (node(0, ctx_idx=3), "ctx_idx is 3"),
    (node(0, ctx_idx=-3), "ctx_idx is -3"),
    (node(0, ctx_idx=None), "ctx_idx is None"),
    (node(0, ctx_idx=True), "ctx_idx is True"),
    (metadata(prompt_tokens=["a"]), "ctx_idx is 1, .*1 prompt_tokens"),
    (metadata(prompt_tokens=[]), "ctx_idx is 1, wanted is prompt_tokens"),
    (metadata(prompt_tokens=[1, 2, 3]), r"prompt_tokens\[0\] is 1, wanted is a text"),
    (node(0, layer="x"), r"node 1 \(0_7_1\): layer is 'x', wanted is a layer from 0"),
    (node(0, layer="-4"), "layer is '-4'"),
    (node(0, layer="4.5"), "layer is '4.5'"),
    (node(1, layer="4"), r"node 2 \(2_40_2\): layer is 4, .*below the logits' layer, 4"),
    (node(0, node_id="0_-7_1"), "node_id is '0_-7_1', wanted is layer_index_position"),
    (node(0, node_id="old", feature="x"), r"node 1 \(old\): feature is 'x', wanted is a whole number"),
    # what is told of the making
    (metadata(info=["a"]), r"metadata: info is \['a'\], wanted is an object"),
    (metadata(info="hello"), "info is 'hello'"),
    (info(n_layers="thirty"), "info: n_layers is 'thirty', wanted is a whole number"),
    (info(n_layers=0), "n_layers is 0"),
    (info(n_layers=2), r"node 2 \(2_40_2\): layer is 2, .*below n_layers, 2"),
    (info(n_layers=9), r"node 6 \(4_99_2\): layer is 4, wanted is n_layers \+ 1, 10"),
    (info(transcoder_layers=5), "transcoder_layers is 5, wanted is a list of layers"),
    (info(transcoder_layers=["a"]), "transcoder_layers is"),
    (info(transcoder_layers=[3], n_layers=3), "list of layers from 0 to 2"),
    (info(replacement_score=0.5), "replacement_score alone"),
    (info(completeness_score=0.5), "completeness_score alone"),
    (info(replacement_score="a", completeness_score=0.5), "replacement_score is 'a', wanted is a number from 0 to 1"),
    (info(replacement_score=0.5, completeness_score=None), "completeness_score is None"),
    (info(active_features=5), "active_features alone"),
    (info(active_features=5, traced_features="5"), "traced_features is '5'"),
    (info(nodes_before_pruning="many"), "nodes_before_pruning is 'many'"),
    (info(edges_before_pruning=-1), "edges_before_pruning is -1"),
    (info(largest_gap="wide"), "largest_gap is 'wide'"),
    # nothing to show
    (lambda data: data.update(nodes=[], links=[]), NO_INFLUENCE + "it has no nodes"),
    (lambda data: data.update(links=[]), NO_INFLUENCE + "no link of a weight other than 0"),
    (weightless, NO_INFLUENCE + "no link of a weight other than 0"),
    (without_logits, NO_INFLUENCE + "none of its nodes is a logit"),
    (node(5, token_prob=0.0), NO_INFLUENCE + "the token_prob of all its logits is 0"),
]


@pytest.mark.parametrize(("change", "said"), CASES)
def test_says_what_is_no_graph(there: Path, change: Change, said: str) -> None:
    with pytest.raises(InputError, match=rf"other\.json(?s:.*)(?:{said})"):
        read_graph(changed(there, change))


def test_says_what_else_is_no_graph(there: Path) -> None:
    with pytest.raises(InputError, match="create_graph_files"):
        read_graph(there.with_name("g.pt"))
    with pytest.raises(InputError, match=r"a list of graphs.*mine"):
        read_graph(there.parent / LIST)
    (there.parent / "x.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        read_graph(there.parent / "x.json")
    (there.parent / "x.json").write_text('{"graphs": 5}')
    with pytest.raises(InputError, match="a list of graphs"):
        read_graph(there.parent / "x.json")


@pytest.mark.parametrize(
    "change",
    [
        info(),
        metadata(info=None),
        info(source_urls=["x"], creator_name="y"),
        info(n_layers=3, transcoder_layers=[0, 2], replacement_score=0.5, completeness_score=1),
        node(0, layer=0, ctx_idx="1"),
        node(0, influence=None, activation=None, clerp=None, promotes=[]),
        node(5, token_prob=1),
    ],
)
def test_what_may_be_left_out_or_said_otherwise(there: Path, change: Change) -> None:
    assert read_graph(changed(there, change)).links == a_graph().links
