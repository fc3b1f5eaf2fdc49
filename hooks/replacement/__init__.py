"""The local replacement model of a prompt, and its attribution graph over transcoders' latents."""

from hooks.replacement.ablation import measured, predicted
from hooks.replacement.graph import Graph, attributed, likely, memory
from hooks.replacement.influence import Pruned, cumulative, influence, prune, scores, shares
from hooks.replacement.local import LocalModel, replaced
from hooks.replacement.paths import Path, ordered, strongest
from hooks.replacement.transcoders import Features, Transcoders

__all__ = [
    "Features",
    "Graph",
    "LocalModel",
    "Path",
    "Pruned",
    "Transcoders",
    "attributed",
    "cumulative",
    "influence",
    "likely",
    "measured",
    "memory",
    "ordered",
    "predicted",
    "prune",
    "replaced",
    "scores",
    "shares",
    "strongest",
]
