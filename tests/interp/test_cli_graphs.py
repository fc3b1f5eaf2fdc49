"""`interp graphs`: a traced graph is kept, written, taken in again under another name, and shown."""

from __future__ import annotations

import json
from pathlib import Path

from data.artifacts import load_artifact
from data.graph_files import KIND, GraphNode, graph_of
from interp.workbench import Workbench
from tests.interp.conftest import Terminal

PROMPT = "When John and Mary went to the store"


def trace(interp: Terminal, *words: str) -> dict:  # type: ignore[type-arg]
    result = interp("run", "attribution_graph", "--model", "toy:random", "--prompt", PROMPT, "--drawn", "150",
                    "--check-interventions", "0", *words, "--json")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["frames"]


def told(node: GraphNode) -> dict:  # type: ignore[type-arg]
    """A node without the keys of which every file says the same."""
    return vars(node) | {"more": {key: one for key, one in node.more.items() if not key.endswith("_idx")}}


def test_there_and_back(interp: Terminal, bench: Workbench, tmp_path: Path) -> None:
    made = trace(interp, "--keep-as", "mine")
    kept = graph_of(load_artifact(bench.workspace, "mine", KIND))
    assert kept.metadata["slug"] == "mine"
    assert len(kept.nodes) == len(made["nodes"])
    result = interp("graphs", "export", "mine", str(tmp_path / "out" / "first.json"))
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "out" / "graph-metadata.json").read_text())["graphs"][0]["slug"] == "first"
    result = interp("graphs", "import", str(tmp_path / "out" / "first.json"), "--as", "theirs", "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert (said["nodes"], said["prompt"]) == (len(kept.nodes), PROMPT)
    again = graph_of(load_artifact(bench.workspace, "theirs", KIND))
    assert [told(node) for node in again.nodes] == [told(node) for node in kept.nodes]
    assert (again.links, again.supernodes) == (kept.links, kept.supernodes)
    listed = json.loads(interp("graphs", "list", "--json").stdout)
    assert [(row["name"], row["nodes"]) for row in listed] == [("mine", len(kept.nodes)), ("theirs", len(kept.nodes))]
    shown = trace(interp, "--graph", "theirs")
    for name in ("nodes", "edges", "paths"):
        assert shown[name] == made[name], name
    assert shown["scores"][0]["replacement"] == made["scores"][0]["replacement"]


def test_labels_and_groups_by_hand_go_with_it(interp: Terminal, bench: Workbench, tmp_path: Path) -> None:
    nodes = trace(interp, "--keep-as", "mine")["nodes"]
    one, other = (node["node"] for node in nodes[:2])
    words = ("--graph", "mine", "--label", f"{one}=a thing", "--supernode", f"both={one},{other}")
    shown = {node["node"]: node for node in trace(interp, *words, "--keep-as", "marked")["nodes"]}
    assert (shown[one]["label"], shown[one]["group"], shown[other]["group"]) == ("a thing", "both", "both")
    interp("graphs", "export", "marked", str(tmp_path / "m.json"))
    data = json.loads((tmp_path / "m.json").read_text())
    assert data["qParams"]["supernodes"] == [["both", one, other]]
    assert {node["clerp"] for node in data["nodes"] if node["node_id"] == one} == {"a thing"}
    result = interp("run", "attribution_graph", "--model", "toy:random", "--prompt", PROMPT, "--graph", "mine",
                    "--label", "99_1_1=x")  # fmt: skip
    assert (result.exit_code, "unknown node '99_1_1'" in result.stderr) == (2, True)


def test_logits_without_probabilities_go_there_and_back(interp: Terminal, bench: Workbench, tmp_path: Path) -> None:
    trace(interp, "--keep-as", "mine")
    interp("graphs", "export", "mine", str(tmp_path / "mine.json"))
    data = json.loads((tmp_path / "mine.json").read_text())
    for node in data["nodes"]:
        node.pop("token_prob")
    (tmp_path / "bare.json").write_text(json.dumps(data))
    interp("graphs", "import", str(tmp_path / "bare.json"), "--as", "bare")
    interp("graphs", "export", "bare", str(tmp_path / "again.json"))
    result = interp("graphs", "import", str(tmp_path / "again.json"), "--as", "again")
    assert result.exit_code == 0, result.stderr
    first, second = (trace(interp, "--graph", name) for name in ("bare", "again"))
    assert second["nodes"] == first["nodes"]
    assert second["edges"] == first["edges"]
    assert {node["probability"] for node in first["nodes"]} == {None}
    assert sum(node["influence"] for node in first["nodes"] if node["kind"] in ("token", "error")) > 0.5


def test_what_cannot_be_shown_is_not_kept(interp: Terminal, bench: Workbench, tmp_path: Path) -> None:
    trace(interp, "--keep-as", "mine")
    interp("graphs", "export", "mine", str(tmp_path / "mine.json"))
    data = json.loads((tmp_path / "mine.json").read_text())
    far, empty = json.loads(json.dumps(data)), data | {"links": []}
    far["nodes"][0]["ctx_idx"] = 77
    for changed, said in ((far, "ctx_idx is 77"), (empty, "no influence reaches any node")):
        (tmp_path / "foreign.json").write_text(json.dumps(changed))
        result = interp("graphs", "import", str(tmp_path / "foreign.json"), "--as", "foreign")
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
        assert "foreign.json" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert [row["name"] for row in json.loads(interp("graphs", "list", "--json").stdout)] == ["mine"]


def test_refusals_are_one_line(interp: Terminal, bench: Workbench, tmp_path: Path) -> None:
    trace(interp, "--keep-as", "mine")
    (tmp_path / "foreign.json").write_text('{"nodes": []}')
    interp("graphs", "export", "mine", str(tmp_path / "there.json"))
    for words, said in (
        (("import", str(tmp_path / "x.pt"), "--as", "a"), "create_graph_files"),
        (("import", str(tmp_path / "foreign.json"), "--as", "a"), "no 'metadata'"),
        (("import", str(tmp_path / "there.json"), "--as", "mine"), "kept already"),
        (("import", str(tmp_path / "there.json"), "--as", "No Name"), "artifact name"),
        (("export", "other", str(tmp_path / "o.json")), "unknown graph 'other'"),
        (("export", "mine", str(tmp_path / "there.json")), "nothing is overwritten"),
    ):
        result = interp("graphs", *words)
        assert result.exit_code == 2, words
        assert said in result.stderr, (words, result.stderr)
        assert len(result.stderr.strip().splitlines()) == 1
