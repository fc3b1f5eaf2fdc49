"""Active and dormant heads' pictures: head × domain, differences by layer and head, changes of the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go

from analyses._common import grey_note
from analyses._contract import Frames
from analyses._plots import grid, grouped_bars, sequential_heatmap, signed_heatmap
from analyses._stats import FEWEST
from analyses.active_dormant.computing import SUNK, ZEROED
from hooks.errors import unknown

if TYPE_CHECKING:
    from analyses.active_dormant import DormantSpec


def names(spec: DormantSpec) -> tuple[str, ...]:
    """The figures' names in order."""
    return ("matrix", "differences", *(("zeroed", "sunk") if spec.top or spec.heads else ()))


def figures(frames: Frames, spec: DormantSpec) -> dict[str, go.Figure]:
    """The pictures that `names` tells. Raises InputError for a domain to draw that was not compared."""
    drawn = {"matrix": _matrix(frames, spec), "differences": _differences(frames, spec)}
    if spec.top or spec.heads:
        drawn |= {"zeroed": _losses(frames["losses"], ZEROED), "sunk": _losses(frames["losses"], SUNK)}
    return drawn


def _matrix(frames: Frames, spec: DormantSpec) -> go.Figure:
    heads, differences = frames["heads"], frames["differences"]
    ranked = differences.assign(size=differences["difference"].abs())
    order = ranked.sort_values(["discovered", "size"], ascending=False).drop_duplicates(["layer", "head"])
    chosen = order.head(spec.rows)[["layer", "head"]].merge(heads, on=["layer", "head"])
    chosen["name"] = "L" + chosen["layer"].astype(str) + "H" + chosen["head"].astype(str)
    names, domains = list(dict.fromkeys(chosen["name"]))[::-1], list(dict.fromkeys(heads["domain"]))
    sides = {side: grid(chosen, x="domain", y="name", value=side, x_order=domains, y_order=names)
             for side in ("mean", "low", "high")}  # fmt: skip
    verdict = frames["verdict"].iloc[0]
    counts = sorted({int(count) for count in heads["texts"]})
    texts = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    said = (
        f"{verdict['statement']}. The {len(names)} heads that differ most, of {verdict['heads']}; {texts} texts a "
        f"domain. {verdict['switching']} heads lie above {spec.dormant:g} in one domain and below in another"
    )
    if verdict["without_sink"]:
        said += f". In {verdict['without_sink']} texts no token is a sink: their mass is 0"
    return sequential_heatmap(
        sides["mean"], domains, names, title="Weight on the sinks, by head and domain", x_title="domain",
        y_title="head", unit="fraction of attention", legend=said, limits=(0.0, 1.0), low=sides["low"],
        high=sides["high"],
    )  # fmt: skip


def _differences(frames: Frames, spec: DormantSpec) -> go.Figure:
    table = frames["differences"]
    compared = list(dict.fromkeys(table["domain"]))
    if spec.domain is not None and spec.domain not in compared:
        raise unknown("option domain", spec.domain, compared)
    spread = table.assign(size=table["difference"].abs()).groupby("domain")["size"].max()
    domain = spec.domain or str(spread.idxmax())
    here = table[table["domain"] == domain]
    sides = {side: grid(here, x="head", y="layer", value=side) for side in ("difference", "low", "high", "discovered")}
    values, reference = sides["difference"], here["reference"].iloc[0]
    texts = int(here["texts"].iloc[0])
    marked = int(here["discovered"].sum())
    told = f"{marked} of {len(here)} heads differ here. " if texts >= FEWEST else ""
    of_all = _first(str(frames["verdict"]["statement"].iloc[0]))
    return signed_heatmap(
        values, [str(head) for head in values.columns], [str(layer) for layer in values.index],
        title=f"Weight on the sinks: {domain} − {reference}", x_title="head", y_title="layer",
        unit="difference of fractions", low=sides["low"], high=sides["high"],
        legend=f"Blue: more dormant in {domain}. {told}Over all domains: {of_all}",
        hidden=~sides["discovered"].astype(bool), hidden_note=grey_note(texts, "no difference").replace(
            "prompts", "texts"),
    )  # fmt: skip


def _first(words: str) -> str:
    return words[:1].lower() + words[1:]


def _losses(table: pd.DataFrame, edit: str) -> go.Figure:
    here = table[table["edit"] == edit]
    named = here.assign(name="L" + here["layer"].astype(str) + "H" + here["head"].astype(str),
                        pale=~here["discovered"].astype(bool))  # fmt: skip
    texts, marked = int(here["texts"].min()), int(here["discovered"].sum())
    told = (
        f"{marked} of {len(here)} bars told from 0 (false discovery rate 5%), the others pale" if texts >= FEWEST
        else f"{texts} texts a domain are too few to tell any from 0, {FEWEST} are needed"
    )  # fmt: skip
    what = "write nothing" if edit == ZEROED else "look at the sink alone"
    return grouped_bars(
        named, x="name", group="domain", value="change", low="low", high="high", x_title="head",
        title=f"Change of the loss when a head must {what}", y_title="change of the loss (nats a token)",
        legend=f"Mean over texts of a domain, bars: 95%; above 0 the model needs what the head does there. {told}",
        reference=0.0, pale="pale" if texts >= FEWEST else None,
    )  # fmt: skip
