"""Writing circuit-tracer's graph JSON, with ids of its newer form, beside `graph-metadata.json`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from data.dictionary_files._files import PICKLES, read_json
from data.graph_files.graph import TYPES, GraphFile, GraphNode, cantor
from data.workspace import exclusive
from hooks.errors import InputError, reason

LIST = "graph-metadata.json"
NAMES = {kind: name for name, kind in TYPES.items()}
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_graph(graph: GraphFile, path: Path) -> None:
    """A new file `SLUG.json`, and its entry in the folder's `graph-metadata.json`, which viewers list.

    Raises:
        InputError: another suffix, a name that cannot be a slug, a file that exists, a list that cannot be read.
    """
    if path.suffix.lower() != ".json":
        why = "pickles are not written" if path.suffix.lower() in PICKLES else "graphs are JSON"
        raise InputError(f"{path}: {why}; give a name that ends in .json")
    if not SLUG.fullmatch(path.stem) or path.name == LIST:
        raise InputError(f"{path.name}: the name is the graph's slug: letters, digits, '.', '-' and '_', not {LIST}")
    if path.exists():
        raise InputError(f"{path} exists: choose another name, nothing is overwritten")
    metadata = {"schema_version": 1, "transcoder_list": []} | graph.metadata | {"slug": path.stem}
    given = {
        "metadata": metadata,
        "qParams": {"linkType": "both", "clickedId": "", "sg_pos": ""} | graph.view | {
            "pinnedIds": list(graph.pinned), "supernodes": [[label, *ids] for label, ids in graph.supernodes],
        },
        "nodes": [_node(node) for node in graph.nodes],
        "links": [
            {"source": graph.nodes[source].id, "target": graph.nodes[target].id, "weight": weight}
            for source, target, weight in graph.links
        ],
    }  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(path.parent / f".{LIST}.lock", block=True):
            listed = _others(path.parent / LIST, path.stem)
            _whole(path, given)
            _whole(path.parent / LIST, {"graphs": [*listed, metadata]})
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be written: {reason(error)}") from error


def _others(path: Path, slug: str) -> list[Any]:
    """The entries of other graphs."""
    if not path.exists():
        return []
    found = read_json(path).get("graphs")
    if not isinstance(found, list):
        raise InputError(f"{path} has no list of graphs: repair or remove it, the new graph goes into it")
    return [one for one in found if not (isinstance(one, dict) and one.get("slug") == slug)]


def _whole(path: Path, data: dict[str, Any]) -> None:
    """Under its name only once it is all there."""
    making = path.with_name(f".making-{path.name}-{os.getpid()}")
    try:
        making.write_text(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        making.replace(path)
    finally:
        making.unlink(missing_ok=True)


def _node(node: GraphNode) -> dict[str, Any]:
    features = {"feature": cantor(node.layer, node.index) if node.kind == "feature" else 0, "error": -1,
                "token": node.position, "logit": node.index}  # fmt: skip
    script = {"token": f"E_{node.index}-{node.position}", "logit": f"L_{node.index}-{node.position}",
              "error": f"{node.layer}_-1-{node.position}"}  # fmt: skip
    told: dict[str, Any] = {"run_idx": 0, "reverse_ctx_idx": 0} | node.more
    # a logit whose probability no one told counts whole: 0 would take all its influence
    if node.kind != "logit" or node.probability is not None:
        told["token_prob"] = node.probability or 0.0
    return told | {
        "node_id": node.id,
        "feature": features[node.kind],
        "layer": "E" if node.kind == "token" else str(node.layer),
        "ctx_idx": node.position,
        "feature_type": NAMES[node.kind],
        "jsNodeId": script.get(node.kind, f"{node.layer}_{node.index}-0"),
        "clerp": node.label,
        "influence": node.influence,
        "activation": node.activation,
        "is_target_logit": node.target,
    }
