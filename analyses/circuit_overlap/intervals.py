"""Intervals of what is not a mean over prompts: the jackknife over blocks of prompts, of one or several samples.

Overlap counts strongest edges, which is no smooth function of the prompts, so the interval was tried: of 150 resamples
of 12 from 24 pairs of IOI and 24 of colored objects (smollm2-135m, 200 strongest edges), a 95% interval held their mean
Jaccard of edges in 95%, of heads in 99%. A bootstrap would not do: it adds noise to both circuits, and noise lowers the
overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from analyses._stats import Estimate, Floats
from analyses._stats.checks import none_of


def jackknife(value: Floats, without: Floats, samples: Sequence[object], *, level: float = 0.95) -> Estimate:
    """`value` […] and its interval, from its values with one block of prompts left out at a time.

    Args:
        without: [block …] the value without each block.
        samples: [block] which sample a block is of. Samples are independent, so their variances are added. A sample of
            one block is joined to the largest.
        level: coverage; Student's t with blocks less samples degrees of freedom.

    No interval (NaN) with fewer than two blocks; a value that is not finite has none either.
    """
    if len(samples) < 2:
        return none_of(value)
    of, counts = np.unique([repr(one) for one in samples], return_inverse=True, return_counts=True)[1:]
    of = np.where(counts[of] == 1, int(counts.argmax()), of)
    variance = np.zeros_like(value)
    for sample in np.unique(of):
        part = without[of == sample]
        variance += (len(part) - 1) / len(part) * ((part - part.mean(axis=0)) ** 2).sum(axis=0)
    reach = float(stdtrit(len(of) - len(np.unique(of)), (1 + level) / 2)) * np.sqrt(variance)
    return Estimate(value, value - reach, value + reach)
