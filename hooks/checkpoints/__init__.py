"""Where models come from: `fetch` turns a spec into a folder of safetensors, `catalogue` lists what can be had."""

from __future__ import annotations

from hooks.checkpoints.catalogue import CatalogueEntry, catalogue
from hooks.checkpoints.fetching import fetch
from hooks.checkpoints.record import Checkpoint

__all__ = ["CatalogueEntry", "Checkpoint", "catalogue", "fetch"]
