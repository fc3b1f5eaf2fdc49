"""Dictionaries as files of other tools: SAELens folders, circuit-tracer transcoder sets, Neuronpedia features."""

from data.dictionary_files.circuit_tracer import read_transcoder_set, write_transcoder_set
from data.dictionary_files.features import Example, Explanation, Feature, Histogram, Source
from data.dictionary_files.folders import read_folder
from data.dictionary_files.neuronpedia import (
    feature_json,
    feature_of,
    read_feature,
    write_feature,
)
from data.dictionary_files.neuronpedia_bulk import read_features, write_features
from data.dictionary_files.saelens import read_saelens, read_sparsity, write_saelens

__all__ = [
    "Example",
    "Explanation",
    "Feature",
    "Histogram",
    "Source",
    "feature_json",
    "feature_of",
    "read_feature",
    "read_features",
    "read_folder",
    "read_saelens",
    "read_sparsity",
    "read_transcoder_set",
    "write_feature",
    "write_features",
    "write_saelens",
    "write_transcoder_set",
]
