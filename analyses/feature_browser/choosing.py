"""Which latents the table lists, which one's card is shown, and what a click on a row opens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd

from analyses._contract import Frames
from hooks.errors import InputError

if TYPE_CHECKING:
    from analyses.feature_browser import BrowserSpec

SORTED = {"density": "density", "norm": "norm", "largest": "largest", "effect": "promoted_logit", "auroc": "auroc",
          "latent": "latent"}  # fmt: skip


def listed(frames: Frames, spec: BrowserSpec) -> tuple[pd.DataFrame, int]:
    """(the latents of the table in order, how many were found before it was cut); rows keep their index."""
    every = frames["latents"]
    found = every if not spec.find else every[_holds(frames, spec.find.lower(), spec.find_in)]
    ascending = spec.ascending or spec.sort == "latent"
    order = found.sort_values(SORTED[spec.sort], ascending=ascending, kind="stable", na_position="last")
    return order.head(spec.rows), len(found)


def chosen_latent(frames: Frames, spec: BrowserSpec) -> int:
    """The latent of the card: the one asked for, else the first of the table, else 0. Raises InputError."""
    count = len(frames["latents"])
    if spec.latent is not None:
        refuse_beyond(spec.latent, count)
        return spec.latent
    shown, _ = listed(frames, spec)
    return int(shown["latent"].iloc[0]) if len(shown) else 0


def refuse_beyond(latent: int, count: int, option: str = "latent") -> None:
    """Raise InputError for a latent that a dictionary of so many does not have."""
    if not 0 <= latent < count:
        raise InputError(f"option {option} = {latent}: this dictionary has latents 0 to {count - 1}")


def _holds(frames: Frames, text: str, where: str) -> pd.Series:
    """[latent] bool, whether the text is in its label, among the tokens it is active on, or among those it moves."""
    latents, effects = frames["latents"], frames["effects"]
    hits = pd.Series(False, index=latents.index)
    if where in ("anywhere", "label"):
        hits |= latents["written"].str.lower().str.contains(text, regex=False)
    if where in ("anywhere", "activates"):
        hits |= latents["top_token"].str.lower().str.contains(text, regex=False)
        hits |= latents["automatic"].str.lower().str.contains(text, regex=False)
    for kind in ("promoted", "suppressed"):
        if where in ("anywhere", kind):
            mine = effects[
                (effects["direction"] == kind) & effects["token"].str.lower().str.contains(text, regex=False)
            ]
            hits |= latents["latent"].isin(mine["latent"])
    return hits


def detail(frames: Frames, _spec: BrowserSpec, figure: str, _column: str, row: str) -> pd.DataFrame | None:
    """The contexts of a clicked latent of the table, as lines of text with the active tokens in brackets."""
    number = row.split(" ", 1)[0]
    if figure != "latents" or not number.isdigit():
        return None
    rows = frames["contexts"][frames["contexts"]["latent"] == int(number)]
    lines = [
        "".join(f"[{token}]" if value else token for token, value in zip(*both, strict=True))
        for both in zip(map(json.loads, rows["tokens"]), map(json.loads, rows["activations"]), strict=True)
    ]
    return pd.DataFrame({"band": rows["band"], "activation": rows["activation"], "context": lines})
