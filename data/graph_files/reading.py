"""Reading circuit-tracer's graph JSON, in its newer and its older ids; what is no such graph is refused by name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.dictionary_files._files import PICKLES, read_json
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
            older ids are the same, so that a link between them could be either's.
    """
    if path.suffix.lower() in PICKLES:
        raise InputError(
            f"{path} is a pickle, which can run code when it is opened, and is not read here: where you trust it, "
            f"write it as JSON by circuit-tracer's create_graph_files({path.name!r}, 'name', 'folder'), and import that"
        )
    data = read_json(path)
    if "graphs" in data and "nodes" not in data:
        slugs = ", ".join(str(one.get("slug")) for one in data["graphs"] if isinstance(one, dict))
        raise InputError(f"{path} is a list of graphs, not a graph: give one of their files ({slugs or 'none'})")
    for key, kind in NEEDED.items():
        if not isinstance(data.get(key), kind):
            raise InputError(f"{path} is no circuit-tracer graph: it has no {key!r}; it needs {', '.join(NEEDED)}")
    metadata = _metadata(data["metadata"], path)
    nodes = tuple(_node(one, number, path) for number, one in enumerate(data["nodes"], 1))
    _refuse_twins(nodes, path)
    named: dict[str, list[int]] = {}
    for place, one in enumerate(data["nodes"]):
        named.setdefault(str(one["node_id"]), []).append(place)
    links = tuple(_link(one, number, nodes, named, path) for number, one in enumerate(data["links"], 1))
    try:
        ordered(len(nodes), [link[:2] for link in links], [node.id for node in nodes])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return _with_groups(GraphFile(metadata, nodes, links), data["qParams"], named, path)


def _metadata(given: Mapping[str, Any], path: Path) -> dict[str, Any]:
    for key, kind in {"slug": str, "scan": (str, type(None)), "prompt": str, "prompt_tokens": list}.items():
        if key not in given or not isinstance(given[key], kind):  # type: ignore[arg-type]
            raise InputError(f"{path}: its metadata has no {key!r}, which a circuit-tracer graph needs")
    return dict(given)


def _node(given: Any, number: int, path: Path) -> GraphNode:
    where = f"{path}: node {number}"
    if not isinstance(given, dict) or not isinstance(given.get("node_id"), str):
        raise InputError(f"{where} has no node_id")
    where = f"{where} ({given['node_id']})"
    kind = TYPES.get(str(given.get("feature_type")))
    if kind is None:
        raise InputError(f"{where}: {unknown('feature_type', str(given.get('feature_type')), TYPES)}")
    try:
        position = int(given["ctx_idx"])
        layer = -1 if kind == "token" else int(given["layer"])
        found = ID.fullmatch(given["node_id"])
        if kind == "error":
            index = -1
        elif found:
            index = int(found[1])
        else:
            index = uncantor(int(given["feature"]))[1] if kind == "feature" else int(given["feature"])
        numbers = [_number(given.get(key)) for key in ("influence", "activation", "token_prob")]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where} cannot be read: {error!r}") from error
    more = {key: value for key, value in given.items() if key not in NODE_KEYS}
    probability = numbers[2] if kind == "logit" else None
    return GraphNode(kind, layer, position, index, str(given.get("clerp") or ""), numbers[0], numbers[1], probability,
                     bool(given.get("is_target_logit")), more)  # fmt: skip


def _number(given: Any) -> float | None:
    if given is None:
        return None
    if not math.isfinite(float(given)):
        raise ValueError(f"{given} is no number")
    return float(given)


def _refuse_twins(nodes: tuple[GraphNode, ...], path: Path) -> None:
    seen: set[str] = set()
    for node in nodes:
        if node.id in seen:
            raise InputError(f"{path}: two nodes are {node.kind} {node.id}")
        seen.add(node.id)


def _link(
    given: Any, number: int, nodes: tuple[GraphNode, ...], named: Mapping[str, list[int]], path: Path
) -> tuple[int, int, float]:
    where = f"{path}: link {number}"
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
    try:
        weight = _number(given["weight"])
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} has weight {given['weight']!r}, not a number") from error
    if weight is None:
        raise InputError(f"{where} has no weight")
    return sources[0], ends[1][0], weight


def _with_groups(graph: GraphFile, given: Mapping[str, Any], named: Mapping[str, list[int]], path: Path) -> GraphFile:
    """Groups and pins, by the newer ids; ids of nodes that the file does not have stay as they are."""

    def renamed(one: Any) -> str:
        there = named.get(str(one), [])
        return graph.nodes[there[0]].id if len(there) == 1 else str(one)

    groups = given.get("supernodes") or []
    if not all(isinstance(one, list) and one for one in groups):
        raise InputError(f"{path}: supernodes must be lists of a label and ids")
    supernodes = tuple((str(one[0]), tuple(renamed(node) for node in one[1:])) for one in groups)
    view = {key: value for key, value in given.items() if key not in OWN_QPARAMS}
    if isinstance(view.get("clickedId"), str):
        view["clickedId"] = renamed(view["clickedId"])
    pinned = tuple(renamed(one) for one in given.get("pinnedIds") or ())
    return GraphFile(graph.metadata, graph.nodes, graph.links, supernodes, pinned, view)
