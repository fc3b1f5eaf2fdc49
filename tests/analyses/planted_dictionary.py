"""A dictionary of known directions for toy models, and texts to read it over."""

from __future__ import annotations

import torch

from hooks.dictionaries import Dictionary, Placed, channels
from hooks.model import Model
from hooks.sites import Site

TEXTS = ("the red book is on the table", "the old man went to the red house", "a b c a b c a b c", "one two three four")


def planted(model: Model, kind: str = "resid_post") -> Placed:
    """Twelve random directions that are read and written, one of them never active."""
    site = Site(1, kind)  # type: ignore[arg-type]
    rows = torch.randn(12, channels(site, model), generator=torch.Generator().manual_seed(0))
    rows /= rows.norm(dim=1, keepdim=True)
    bias = torch.zeros(12)
    bias[11] = -1e6
    dictionary = Dictionary("standard", rows.T.contiguous(), 2 * rows, torch.zeros(rows.shape[1]), b_enc=bias)
    return Placed(dictionary, site, site, model.identity.as_dict())
