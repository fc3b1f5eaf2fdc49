"""What a graph file must hold before it is kept: refused with the file, the node or field, and what is wanted there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.graph_files.graph import GraphNode
from hooks.errors import InputError

SCORES = ("replacement_score", "completeness_score")
COUNTS = ("active_features", "traced_features")
BEFORE = ("nodes_before_pruning", "edges_before_pruning")
MOST_LAYERS, MOST = 10_000, 2**53
ROUNDING = 1e-4
"""Shares that were summed in float32 may be that far over 1."""


def whole(given: Any, least: int, most: int) -> int | None:
    """A whole number in that range, as a number or in a text; else None."""
    try:
        found = int(given) if isinstance(given, int | str) and not isinstance(given, bool) else None
    except ValueError:
        return None
    return found if found is not None and least <= found <= most else None


def number(given: Any) -> float | None:
    """A finite number, not in a text; else None."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    try:
        return float(given) if math.isfinite(given) else None
    except OverflowError:
        return None


def share(given: Any) -> float | None:
    """A number from 0 to 1; else None."""
    found = number(given)
    return min(found, 1.0) if found is not None and 0 <= found <= 1 + ROUNDING else None


def wrong(where: str, field: str, given: Any, wanted: str) -> InputError:
    """The error to raise."""
    said = repr(given)
    return InputError(f"{where}: {field} is {said if len(said) <= 60 else said[:57] + '…'}, wanted is {wanted}")


def check_metadata(given: Mapping[str, Any], path: Path) -> None:
    """Raises InputError for keys that are missing, tokens that are no texts, and what cannot be read in `info`."""
    for key, kind in {"slug": str, "scan": (str, type(None)), "prompt": str, "prompt_tokens": list}.items():
        if key not in given or not isinstance(given[key], kind):  # type: ignore[arg-type]
            raise InputError(f"{path}: its metadata has no {key!r}, which a circuit-tracer graph needs")
    for place, token in enumerate(given["prompt_tokens"]):
        if not isinstance(token, str):
            raise wrong(f"{path}: metadata", f"prompt_tokens[{place}]", token, "a text, as of every token")
    info, where = given.get("info"), f"{path}: metadata"
    if info is None:
        return
    if not isinstance(info, dict):
        raise wrong(where, "info", info, "an object of settings, or no info")
    where = f"{where}.info"
    for pair, read, wanted in ((SCORES, share, "a number from 0 to 1"), (COUNTS, _count, "a whole number from 0")):
        there = [key for key in pair if key in info]
        for key in there:
            if read(info[key]) is None:
                raise wrong(where, key, info[key], f"{wanted}, or neither {pair[0]} nor {pair[1]}")
        if len(there) == 1:
            raise InputError(f"{where} has {there[0]} alone, wanted are {pair[0]} and {pair[1]}, or neither")
    for key in BEFORE:
        if info.get(key) is not None and _count(info[key]) is None:
            raise wrong(where, key, info[key], "a whole number from 0")
    if info.get("largest_gap") is not None and number(info["largest_gap"]) is None:
        raise wrong(where, "largest_gap", info["largest_gap"], "a number")
    _check_layers(info, where)


def _count(given: Any) -> int | None:
    return None if isinstance(given, str) else whole(given, 0, MOST)


def _check_layers(info: Mapping[str, Any], where: str) -> None:
    told = info.get("n_layers")
    if told is not None and (isinstance(told, str) or not whole(told, 1, MOST_LAYERS)):
        raise wrong(where, "n_layers", told, f"a whole number from 1 to {MOST_LAYERS:,}")
    covered, most = info.get("transcoder_layers"), (told or MOST_LAYERS) - 1
    if covered is not None and not (
        isinstance(covered, list)
        and all(not isinstance(one, str) and whole(one, 0, most) is not None for one in covered)
    ):
        raise wrong(where, "transcoder_layers", covered, f"a list of layers from 0 to {most}")


def check_layers(nodes: Sequence[GraphNode], names: Sequence[str], n_layers: int | None, path: Path) -> None:
    """Raises InputError for latents and errors above the model's layers, and logits within them.

    Args:
        names: the nodes' ids in the file.
        n_layers: of the model; None where the file does not say it: then all are below the logits' layer.
    """
    top = max((node.layer for node in nodes if node.kind == "logit"), default=MOST_LAYERS)
    for place, node in enumerate(nodes):
        where = f"{path}: node {place + 1} ({names[place]})"
        if node.kind in ("feature", "error") and node.layer >= (top if n_layers is None else n_layers):
            least = f"the logits' layer, {top}" if n_layers is None else f"n_layers, {n_layers}"
            raise wrong(where, "layer", node.layer, f"a layer from 0 and below {least}")
        if node.kind == "logit" and n_layers is not None and node.layer not in (n_layers, n_layers + 1):
            raise wrong(where, "layer", node.layer, f"n_layers + 1, {n_layers + 1}, as of every logit")


def check_influence(nodes: Sequence[GraphNode], links: Sequence[tuple[int, int, float]], path: Path) -> None:
    """Raises InputError for a graph in which nothing has an influence on a logit, so that it has nothing to show."""
    logits = {place: node.probability for place, node in enumerate(nodes) if node.kind == "logit"}
    if not logits:
        why = f"{'none of its nodes is a logit' if nodes else 'it has no nodes'}, wanted is one at least"
    elif len({one is None for one in logits.values()}) > 1:
        raise InputError(f"{path}: some of its logits have a token_prob and some have none, wanted is all or none")
    elif not any(one is None or one > 0 for one in logits.values()):
        why = "the token_prob of all its logits is 0, wanted is one above 0"
    elif not any(weight and (logits.get(target, 0.0) != 0) for _, target, weight in links):
        why = "no link of a weight other than 0 goes into a logit whose token_prob is above 0, wanted is one at least"
    else:
        return
    raise InputError(f"{path}: no influence reaches any node: {why}")
