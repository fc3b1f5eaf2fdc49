"""Drawing: one Plotly template and builders which turn tidy frames into figures.

Every figure made here knows its own layout rules (kept in ``layout.meta``), so :func:`fit` can lay it out again
for one column, two columns or a screen without touching the data.
"""

from analyses._plots.facets import facets
from analyses._plots.fit import fit
from analyses._plots.graph import graph
from analyses._plots.grids import grid
from analyses._plots.grouped import funnel, grouped_bars
from analyses._plots.heatmaps import lens_table, sequential_heatmap, signed_heatmap
from analyses._plots.histograms import histogram
from analyses._plots.marks import bars, lines
from analyses._plots.overlay import click_overlay
from analyses._plots.points import scatter
from analyses._plots.strips import strip
from analyses._plots.theme import WIDTHS_IN, template
from analyses._plots.tokens import glyphs, token_hovers, token_labels

__all__ = [
    "WIDTHS_IN",
    "bars",
    "click_overlay",
    "facets",
    "fit",
    "funnel",
    "glyphs",
    "graph",
    "grid",
    "grouped_bars",
    "histogram",
    "lens_table",
    "lines",
    "scatter",
    "sequential_heatmap",
    "signed_heatmap",
    "strip",
    "template",
    "token_hovers",
    "token_labels",
]
