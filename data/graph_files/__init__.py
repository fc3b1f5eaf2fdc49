"""Attribution graphs as files of other tools: circuit-tracer's graph JSON, which public viewers open."""

from data.graph_files.graph import KIND, GraphFile, GraphNode, contents, graph_of
from data.graph_files.reading import read_graph
from data.graph_files.writing import LIST, write_graph

__all__ = ["KIND", "LIST", "GraphFile", "GraphNode", "contents", "graph_of", "read_graph", "write_graph"]
