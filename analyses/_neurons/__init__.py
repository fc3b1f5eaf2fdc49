"""What analyses of single neurons share: their directions in the residual stream, and the tokens these stand for."""

from analyses._neurons.directions import Direction, NormUse, chosen_directions, directions_of, rows, through_final_norm
from analyses._neurons.words import Words, words_of

__all__ = [
    "Direction",
    "NormUse",
    "Words",
    "chosen_directions",
    "directions_of",
    "rows",
    "through_final_norm",
    "words_of",
]
