"""Sparse dictionaries in a model: their numbers, their place, and edits through them."""

from hooks.dictionaries.cross_layer import CrossLayer
from hooks.dictionaries.dictionary import ARCHITECTURES, Dictionary
from hooks.dictionaries.placed import Placed, channels
from hooks.dictionaries.recode import Recode

__all__ = ["ARCHITECTURES", "CrossLayer", "Dictionary", "Placed", "Recode", "channels"]
