"""Neuronpedia's JSON of one feature: what it promotes, how often it fires, where it fires most, what it is called.

Its two arrays of a histogram are parallel: one value (a bin's middle) for each height. Keys that are not used here are
kept as they were read, and written again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.dictionary_files._files import read_json, write_json
from data.dictionary_files.features import Example, Explanation, Feature, Histogram, Source
from hooks.errors import InputError

PAIRS = {"pos": "promoted", "neg": "suppressed"}
BARS = {"freq_hist_data_bar": "activations", "logits_hist_data_bar": "logits"}


def feature_json(source: Source, feature: Feature) -> dict[str, Any]:
    """The object that Neuronpedia reads. Raises InputError for NaN, infinity or a share outside 0 to 1."""
    made = feature_row(source, feature)
    made["activations"] = [example_row(one) for one in feature.examples]
    made["explanations"] = [explanation_row(one) for one in feature.explanations]
    return made


def feature_of(found: Mapping[str, Any], where: str) -> tuple[Source, Feature]:
    """The feature that an object is. Raises InputError naming `where` and the key that is missing or wrong."""
    told = dict(found)
    try:
        source = Source(str(told.pop("modelId")), str(told.pop("layer")))
        pairs: dict[str, Any] = {}
        for key, name in PAIRS.items():
            words, numbers = told.pop(f"{key}_str", None) or (), told.pop(f"{key}_values", None) or ()
            pairs[name] = tuple((str(word), float(n)) for word, n in zip(words, numbers, strict=True))
        for key, name in BARS.items():
            pairs[name] = Histogram(
                _numbers(told.pop(f"{key}_heights", None)), _numbers(told.pop(f"{key}_values", None))
            )
        feature = Feature(
            index=int(told.pop("index")), largest=float(told.pop("maxActApprox", None) or 0),
            frac_nonzero=float(told.pop("frac_nonzero", None) or 0),
            examples=tuple(example_of(one) for one in told.pop("activations", None) or ()),
            explanations=tuple(explanation_of(one) for one in told.pop("explanations", None) or ()),
            more=told, **pairs,
        )  # fmt: skip
    except KeyError as error:
        raise InputError(f"{where} has no {error.args[0]}: it is not a feature of Neuronpedia") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where} is not a feature of Neuronpedia: {error}") from error
    _checked(feature)
    return source, feature


def write_feature(path: Path, source: Source, feature: Feature) -> None:
    """One feature in a JSON file of its own, in place of an older one. Raises InputError for NaN."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        write_json(part, feature_json(source, feature))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_feature(path: Path) -> tuple[Source, Feature]:
    """A feature from a JSON file. Raises InputError naming the file."""
    return feature_of(read_json(path), str(path))


def feature_row(source: Source, feature: Feature) -> dict[str, Any]:
    """A feature without examples and explanations."""
    _checked(feature)
    made: dict[str, Any] = {"modelId": source.model, "layer": source.layer, "index": str(feature.index)}
    made |= {"maxActApprox": feature.largest, "frac_nonzero": feature.frac_nonzero}
    for key, name in PAIRS.items():
        pairs = getattr(feature, name)
        made |= {f"{key}_str": [word for word, _ in pairs], f"{key}_values": [number for _, number in pairs]}
    for key, name in BARS.items():
        bars = getattr(feature, name)
        made |= {f"{key}_heights": list(bars.heights), f"{key}_values": list(bars.values)}
    return made | dict(feature.more)


def example_row(one: Example) -> dict[str, Any]:
    """An example; the largest activation and its token are told beside the activations."""
    largest = max(range(len(one.values)), key=one.values.__getitem__)
    told = {"tokens": list(one.tokens), "values": list(one.values), "maxValue": one.values[largest],
            "maxValueTokenIndex": largest, "dataIndex": one.data_index}  # fmt: skip
    return told | dict(one.more)


def example_of(found: Mapping[str, Any]) -> Example:
    """From an object; what follows from the activations is not kept."""
    told = {key: value for key, value in found.items() if key not in ("maxValue", "maxValueTokenIndex")}
    tokens, values = tuple(str(one) for one in told.pop("tokens")), _numbers(told.pop("values"))
    return Example(tokens, values, told.pop("dataIndex", None), told)


def explanation_row(one: Explanation) -> dict[str, Any]:
    """An explanation."""
    told = {"description": one.description, "typeName": one.type_name, "explanationModelName": one.model}
    return told | dict(one.more)


def explanation_of(found: Mapping[str, Any]) -> Explanation:
    """From an object."""
    told = dict(found)
    return Explanation(
        str(told.pop("description")), told.pop("typeName", None), told.pop("explanationModelName", None), told
    )


def _numbers(found: Any) -> tuple[float, ...]:
    return tuple(float(one) for one in found or ())


def _checked(one: Feature) -> None:
    numbers = [one.largest, one.frac_nonzero, *(n for _, n in (*one.promoted, *one.suppressed))]
    for bars in (one.activations, one.logits):
        numbers += [*bars.heights, *bars.values]
    numbers += [value for example in one.examples for value in example.values]
    if not all(math.isfinite(number) for number in numbers):
        raise InputError(f"feature {one.index} has NaN or infinity among its numbers")
    if one.index < 0 or not 0 <= one.frac_nonzero <= 1:
        raise InputError(f"feature {one.index} fires at a share of {one.frac_nonzero:g} of tokens: 0 to 1 is possible")
