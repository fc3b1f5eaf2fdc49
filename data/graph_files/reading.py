"""Reading circuit-tracer's graph JSON, in its newer and its older ids; what is no such graph is refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.dictionary_files._files import PICKLES, read_json
from data.graph_files.checking import (
    MOST,
    MOST_LAYERS,
    check_influence,
    check_layers,
    check_metadata,
    number,
    share,
    whole,
    wrong,
)
from data.graph_files.graph import TYPES, GraphFile, GraphNode, uncantor
from hooks.errors import InputError, unknown
from hooks.replacement.paths import ordered

NEEDED = {"metadata": dict, "qParams": dict, "nodes": list, "links": list}
NODE_KEYS = {
    "node_id", "feature", "layer", "ctx_idx", "feature_type", "jsNodeId", "clerp", "influence", "activation",
    "token_prob", "is_target_logit",
}  # fmt: skip
OWN_QPARAMS = {"supernodes", "pinnedIds"}
_A = {"token": "a token", "error": "an error"}
ID = re.compile(r"(?:E|-?\d+)_(-?\d+)_(\d+)")


def read_graph(path: Path) -> GraphFile:
    """A graph file.

    Raises:
        InputError: naming what is wrong: no JSON, a pickle (with the way out), missing keys, nodes of unknown types,
            links between nodes that are not there, into tokens or errors or out of logits, a cycle, or two nodes whose
            older ids are the same, so that a link between them could be either's; places beyond the prompt's tokens or
            the model's layers, fields of another type than wanted, and a graph without influence on a logit.
    """
    if path.suffix.lower() in PICKLES:
        raise InputError(
            f"{path} is a pickle, which can run code when it is opened, and is not read here: where you trust it, "
            f"write it as JSON by circuit-tracer's create_graph_files({path.name!r}, 'name', 'folder'), and import that"
        )
    data = read_json(path)
    if "graphs" in data and "nodes" not in data:
        listed = data["graphs"] if isinstance(data["graphs"], list) else []
        slugs = ", ".join(str(one.get("slug")) for one in listed if isinstance(one, dict))
        raise InputError(f"{path} is a list of graphs, not a graph: give one of their files ({slugs or 'none'})")
    for key, kind in NEEDED.items():
        if not isinstance(data.get(key), kind):
            raise InputError(f"{path} is no circuit-tracer graph: it has no {key!r}; it needs {', '.join(NEEDED)}")
    metadata: dict[str, Any] = data["metadata"]
    check_metadata(metadata, path)
    nodes = tuple(_node(one, at, len(metadata["prompt_tokens"]), path) for at, one in enumerate(data["nodes"], 1))
    _refuse_twins(nodes, path)
    names = [one["node_id"] for one in data["nodes"]]
    check_layers(nodes, names, (metadata.get("info") or {}).get("n_layers"), path)
    named: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        named.setdefault(name, []).append(place)
    links = tuple(_link(one, at, nodes, named, path) for at, one in enumerate(data["links"], 1))
    try:
        ordered(len(nodes), [link[:2] for link in links], [node.id for node in nodes])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    check_influence(nodes, links, path)
    return _with_groups(GraphFile(metadata, nodes, links), data["qParams"], named, path)


def _node(given: Any, at: int, tokens: int, path: Path) -> GraphNode:
    where = f"{path}: node {at}"
    if not isinstance(given, dict) or not isinstance(given.get("node_id"), str):
        raise InputError(f"{where} has no node_id")
    where = f"{where} ({given['node_id']})"
    kind = TYPES.get(str(given.get("feature_type")))
    if kind is None:
        raise InputError(f"{where}: {unknown('feature_type', str(given.get('feature_type')), TYPES)}")
    position = whole(given.get("ctx_idx"), 0, tokens - 1)
    if position is None:
        wanted = f"a place among the {tokens} prompt_tokens, from 0 to {tokens - 1}" if tokens else "prompt_tokens"
        raise wrong(where, "ctx_idx", given.get("ctx_idx"), wanted)
    layer = -1 if kind == "token" else whole(given.get("layer"), 0, MOST_LAYERS + 1)
    if layer is None:
        raise wrong(where, "layer", given.get("layer"), "a layer from 0")
    numbers = {}
    for key in ("influence", "activation", "token_prob"):
        read, wanted = (share, "from 0 to 1") if (kind, key) == ("logit", "token_prob") else (number, "or null")
        numbers[key] = None if given.get(key) is None else read(given[key])
        if numbers[key] is None and given.get(key) is not None:
            raise wrong(where, key, given[key], f"a number {wanted}")
    more = {key: value for key, value in given.items() if key not in NODE_KEYS}
    promotes = more.get("promotes")
    if promotes is not None and not (isinstance(promotes, list) and all(isinstance(one, str) for one in promotes)):
        raise wrong(where, "promotes", promotes, "a list of texts")
    return GraphNode(
        kind, layer, position, _index(given, kind, where), str(given.get("clerp") or ""), numbers["influence"],
        numbers["activation"], numbers["token_prob"] if kind == "logit" else None, bool(given.get("is_target_logit")),
        more,
    )  # fmt: skip


def _index(given: Mapping[str, Any], kind: str, where: str) -> int:
    if kind == "error":
        return -1
    found = ID.fullmatch(given["node_id"])
    index = whole(found[1] if found else given.get("feature"), 0, MOST)
    if index is None:
        if found:
            raise wrong(where, "node_id", given["node_id"], "layer_index_position, with an index from 0")
        raise wrong(where, "feature", given.get("feature"), "a whole number from 0")
    return uncantor(index)[1] if kind == "feature" and not found else index


def _refuse_twins(nodes: tuple[GraphNode, ...], path: Path) -> None:
    seen: set[str] = set()
    for node in nodes:
        if node.id in seen:
            raise InputError(f"{path}: two nodes are {node.kind} {node.id}")
        seen.add(node.id)


def _link(
    given: Any, at: int, nodes: tuple[GraphNode, ...], named: Mapping[str, list[int]], path: Path
) -> tuple[int, int, float]:
    where = f"{path}: link {at}"
    if not isinstance(given, dict) or not {"source", "target", "weight"} <= given.keys():
        raise InputError(f"{where} needs source, target and weight")
    ends: list[list[int]] = []
    for end, barred in (("source", ("logit",)), ("target", ("token", "error"))):
        there = named.get(str(given[end]), [])
        if not there:
            raise InputError(f"{where} has {end} {given[end]!r}, which is no node of this graph")
        fitting = [place for place in there if nodes[place].kind not in barred]
        if not fitting:
            said = "leaves a logit" if end == "source" else f"goes into {_A[nodes[there[0]].kind]}"
            raise InputError(f"{where} ({given['source']} → {given['target']}) {said}: no attribution graph has such")
        ends.append(fitting)
    # an older id may be a feature's and an error's: what is written at or above the target's layer cannot be meant
    top = nodes[ends[1][0]].layer
    sources = [place for place in ends[0] if nodes[place].layer < top] or ends[0]
    if len(sources) > 1:
        raise InputError(
            f"{where} comes from {given['source']!r}, which in older files is the id of a feature and of an error, and "
            "this file has both: write it again with a newer circuit-tracer"
        )
    weight = number(given["weight"])
    if weight is None:
        raise wrong(f"{where} ({given['source']} → {given['target']})", "weight", given["weight"], "a number")
    return sources[0], ends[1][0], weight


def _with_groups(graph: GraphFile, given: Mapping[str, Any], named: Mapping[str, list[int]], path: Path) -> GraphFile:
    """Groups and pins, by the newer ids; ids of nodes that the file does not have stay as they are."""

    def renamed(one: Any) -> str:
        there = named.get(str(one), [])
        return graph.nodes[there[0]].id if len(there) == 1 else str(one)

    groups = given.get("supernodes") or []
    if not isinstance(groups, list) or not all(isinstance(one, list) and one for one in groups):
        raise InputError(f"{path}: supernodes must be lists of a label and ids")
    pins = given.get("pinnedIds") or []
    if not isinstance(pins, list):
        raise wrong(f"{path}: qParams", "pinnedIds", pins, "a list of ids")
    supernodes = tuple((str(one[0]), tuple(renamed(node) for node in one[1:])) for one in groups)
    view = {key: value for key, value in given.items() if key not in OWN_QPARAMS}
    if isinstance(view.get("clickedId"), str):
        view["clickedId"] = renamed(view["clickedId"])
    pinned = tuple(renamed(one) for one in pins)
    return GraphFile(graph.metadata, graph.nodes, graph.links, supernodes, pinned, view)
