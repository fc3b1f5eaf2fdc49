"""Names beside points, written only where they touch neither one another nor leave the plot."""

from __future__ import annotations

from typing import Any

from analyses._plots.theme import TICK_PX, escape, text_width

GAP = 4.0
"""Pixels between a point and its name."""

Box = tuple[float, float, float, float]


def name_points(
    meta: dict[str, Any], across: float, tall: float, gaps: tuple[float, ...] = (GAP,)
) -> list[dict[str, Any]]:  # fmt: skip
    """Annotations for the points named in ``meta["points"]``, in that order, for this size of plot.

    A name goes to the right of its point if it can, or to the left where its entry ends in "left". ``gaps`` are the
    distances in pixels that are tried one after the other until a name touches nothing.
    """
    at = [(x * across, y * tall) for x, y in meta["points"]["at"]]
    taken: list[Box] = [(x - 3, y - 3, x + 3, y + 3) for x, y in at]
    notes = []
    for place, name, *side in meta["points"]["names"]:
        # Names of heads are capitals and digits, which are wider than the mean letter.
        wide, high = text_width(name, TICK_PX) * 1.1 + 3, TICK_PX * 1.3
        near, *far = (_places(at[place], wide, high, gap) for gap in gaps)
        # Farther away only sideways: above or below, a name would be taken for that of another row.
        tried = near + [one for places in far for one in places[:2]]
        if side == ["left"]:
            tried[:2] = tried[1], tried[0]
        for anchor, (x0, y0) in tried:
            box = (x0, y0, x0 + wide, y0 + high)
            inside = x0 >= 0 and y0 >= 0 and box[2] <= across and box[3] <= tall
            between = _between(at[place], box)
            if inside and not any(_touch(box, other) or _touch(between, other) for other in taken):
                taken.append(box)
                notes.append(_note(name, anchor, box, across, tall))
                break
    return notes


def _places(
    point: tuple[float, float], wide: float, high: float, gap: float
) -> list[tuple[str, tuple[float, float]]]:  # fmt: skip
    """Right, left, above and below of a point: (which side of the text is fixed, its lower left corner)."""
    x, y = point
    return [
        ("left", (x + gap, y - high / 2)),
        ("right", (x - gap - wide, y - high / 2)),
        ("center", (x - wide / 2, y + gap)),
        ("center", (x - wide / 2, y - gap - high)),
    ]


def _between(point: tuple[float, float], name: Box) -> Box:
    """The strip from beside a point to a name at its side: another point on it would be taken for the named one."""
    x, y = point
    if name[0] <= x <= name[2]:
        return name
    ends = (x + 4, name[0]) if name[0] > x else (name[2], x - 4)
    return ends[0], y - 1, ends[1], y + 1


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _note(name: str, anchor: str, box: Box, across: float, tall: float) -> dict[str, Any]:
    x = {"left": box[0], "right": box[2], "center": (box[0] + box[2]) / 2}[anchor]
    return {"text": escape(name), "x": x / across, "y": (box[1] + box[3]) / 2 / tall, "xref": "x domain",
            "yref": "y domain", "xanchor": anchor, "yanchor": "middle", "showarrow": False, "borderpad": 0,
            "bgcolor": "rgba(255,255,255,0.75)",
            "font": {"size": TICK_PX}}  # fmt: skip
