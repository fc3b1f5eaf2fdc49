"""What analyses of component circuits share: scores over pairs, selection, random circuits, kept circuits, drawing.

`hooks.edges` has the graph, the scores and the runs with cut edges; a circuit is a boolean for each of its edges.
"""
