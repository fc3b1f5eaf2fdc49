"""`interp graphs`: list those that are kept, take in circuit-tracer's graph files, and write them for its viewers."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click
import pandas as pd

from data.artifacts import check_name, list_artifacts, load_artifact, save_artifact
from data.graph_files import KIND, LIST, GraphFile, contents, graph_of, read_graph, write_graph
from hooks.errors import InputError
from interp.cli_errors import TRACEBACK_OPTION
from interp.console import JSON_OPTION, say, with_options
from interp.workbench import Workbench

FILE = click.Path(path_type=Path)


@click.group()
def graphs() -> None:
    """List, import and export attribution graphs: circuit-tracer's graph JSON."""


@with_options(JSON_OPTION)
@graphs.command("list")
def list_graphs(as_json: bool) -> None:
    """List the graphs that are kept in this workspace."""
    workspace = Workbench().workspace
    kept = list_artifacts(workspace, KIND)
    rows = [_row(str(name), graph_of(load_artifact(workspace, str(name), KIND)), size)
            for name, size in zip(kept["name"], kept["size_mb"], strict=True)]  # fmt: skip
    say(pd.DataFrame(rows), as_json)


@with_options(JSON_OPTION)
@graphs.command("import")
@click.argument("file", type=FILE)
@click.option("--as", "name", required=True, help="name to keep it under; attribution_graph --graph shows it")
@click.option("--replace", "again", is_flag=True, help="take the place of what is kept under that name")
def import_graph(file: Path, name: str, again: bool, as_json: bool) -> None:
    """Keep the graph of FILE, a circuit-tracer graph JSON with ids of either form."""
    workspace = Workbench().workspace
    check_name(name)
    if not again and name in set(list_artifacts(workspace)["name"]):
        raise InputError(f"{name!r} is kept already: choose another name, or --replace")
    found = read_graph(file)
    save_artifact(workspace, name, KIND, *contents(found))
    told = {"imported": name, **_told(found)}
    say(told if as_json else f"kept as {name!r}: {_line(found)}", as_json)


@with_options(JSON_OPTION)
@graphs.command("export")
@click.argument("name")
@click.argument("file", type=FILE)
def export_graph(name: str, file: Path, as_json: bool) -> None:
    """Write kept graph NAME to the new FILE, SLUG.json, and list it in the graph-metadata.json beside it."""
    found = graph_of(load_artifact(Workbench().workspace, name, KIND))
    write_graph(found, file)
    told = {"exported": name, "file": str(file), "listed_in": str(file.parent / LIST)}
    say(told if as_json else f"wrote {file}, listed in {LIST}: {_line(found)}", as_json)


for command in graphs.commands.values():
    command.params.append(TRACEBACK_OPTION)


def _told(graph: GraphFile) -> dict[str, Any]:
    kinds = Counter(node.kind for node in graph.nodes)
    counts = {f"{kind}s": kinds[kind] for kind in ("feature", "error", "token", "logit")}
    return {"prompt": graph.metadata["prompt"], "features_of": graph.metadata["scan"], "nodes": len(graph.nodes),
            "edges": len(graph.links), **counts}  # fmt: skip


def _row(name: str, graph: GraphFile, size: float) -> dict[str, Any]:
    return {"name": name, **_told(graph), "size_mb": size}


def _line(graph: GraphFile) -> str:
    told = _told(graph)
    prompt = json.dumps(told["prompt"], ensure_ascii=False)
    return f"{told['nodes']:,} nodes ({told['features']:,} latents), {told['edges']:,} edges, of {prompt}"
