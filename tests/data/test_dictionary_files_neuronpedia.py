"""Neuronpedia's feature JSON and its bulk form: the keys it reads, there and back, what is wrong named."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data.dictionary_files import (
    Example,
    Explanation,
    Feature,
    Histogram,
    Source,
    feature_json,
    feature_of,
    read_feature,
    read_features,
    write_feature,
    write_features,
)
from hooks.errors import InputError

SOURCE = Source("smollm2-135m", "14-res-mine")
LINE = "\u2028"
"""A line separator, which is a character of text and no end of a line of JSON."""
FEATURE = Feature(
    7, 3.5, 0.0125, ((" Paris", 1.5), ("é", 0.25)), ((" no", -2.0),), Histogram((5.0, 1.0), (0.5, 1.5)),
    Histogram((1.0, 2.0, 1.0), (-1.0, 0.0, 1.0)),
    (Example(("The", " end", LINE, "\n"), (0.0, 3.5, 0.0, 3.5), 4), Example(("a",), (-0.0,))),
    (Explanation("ends of texts", "np_max-act", "mine"), Explanation("?")),
)  # fmt: skip


def test_the_keys_that_neuronpedia_reads() -> None:
    found = feature_json(SOURCE, FEATURE)
    assert (found["modelId"], found["layer"], found["index"]) == ("smollm2-135m", "14-res-mine", "7")
    assert (found["maxActApprox"], found["frac_nonzero"]) == (3.5, 0.0125)
    assert (found["pos_str"], found["pos_values"]) == ([" Paris", "é"], [1.5, 0.25])
    assert (found["neg_str"], found["neg_values"]) == ([" no"], [-2.0])
    assert (found["freq_hist_data_bar_heights"], found["freq_hist_data_bar_values"]) == ([5.0, 1.0], [0.5, 1.5])
    assert len(found["logits_hist_data_bar_heights"]) == len(found["logits_hist_data_bar_values"]) == 3
    first = found["activations"][0]
    assert (first["maxValue"], first["maxValueTokenIndex"], first["dataIndex"]) == (3.5, 1, 4)
    assert first["tokens"] == ["The", " end", LINE, "\n"]
    assert found["explanations"][0] == {
        "description": "ends of texts", "typeName": "np_max-act", "explanationModelName": "mine"
    }  # fmt: skip


def test_there_and_back_with_what_is_not_ours(tmp_path: Path) -> None:
    write_feature(tmp_path / "deep" / "7.json", SOURCE, FEATURE)
    assert read_feature(tmp_path / "deep" / "7.json") == (SOURCE, FEATURE)
    theirs = feature_json(SOURCE, FEATURE) | {"hookName": "blocks.14.hook_resid_post", "correlated_neurons_l1": [1.0]}
    theirs["activations"][0]["binMin"] = 0.1
    theirs["explanations"][0]["authorId"] = "x"
    source, read = feature_of(theirs, "there")
    assert read.more["hookName"] == "blocks.14.hook_resid_post"
    assert feature_json(source, read) == theirs
    assert feature_of({"modelId": "m", "layer": "l", "index": "3"}, "there")[1] == Feature(3)
    assert not [one for one in (tmp_path / "deep").iterdir() if one.name != "7.json"]


def test_bulk_files_there_and_back(tmp_path: Path) -> None:
    many = [replace(FEATURE, index=index, largest=float(index)) for index in range(1030)]
    write_features(tmp_path / "bulk", SOURCE, many)
    assert sorted(str(one.relative_to(tmp_path / "bulk")) for one in (tmp_path / "bulk").rglob("*.gz")) == [
        f"{kind}/batch-{number}.jsonl.gz" for kind in ("activations", "explanations", "features") for number in (0, 1)
    ]
    assert read_features(tmp_path / "bulk") == (SOURCE, many)
    row = json.loads(gzip.decompress((tmp_path / "bulk/activations/batch-1.jsonl.gz").read_bytes()).split(b"\n")[0])
    assert (row["modelId"], row["layer"], row["index"]) == ("smollm2-135m", "14-res-mine", "1024")
    write_features(tmp_path / "again", SOURCE, many)
    for name in ("features/batch-0.jsonl.gz", "activations/batch-1.jsonl.gz"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "bulk" / name).read_bytes()


def bulk(folder: Path) -> Path:
    write_features(folder, SOURCE, [FEATURE])
    return folder


def lines(path: Path, *rows: dict[str, Any]) -> None:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


OWNED = {"modelId": "m", "layer": "l", "index": "9"}
WRONG: dict[str, tuple[Any, str]] = {
    "half": (lambda f: (f / "features/batch-0.jsonl.gz").write_bytes(
        (f / "features/batch-0.jsonl.gz").read_bytes()[:-9]), r"batch-0.jsonl.gz is damaged"),
    "no gzip": (lambda f: (f / "features/batch-0.jsonl.gz").write_bytes(b"{}"), r"batch-0.jsonl.gz is damaged"),
    "orphan": (lambda f: lines(f / "activations/batch-0.jsonl.gz", OWNED), "line 1: feature 9 is not among"),
    "twice": (lambda f: lines(f / "features/batch-0.jsonl.gz", OWNED, OWNED), "line 2: feature 9 is there twice"),
    "two sources": (lambda f: lines(f / "features/batch-1.jsonl.gz", OWNED), "several models or layers"),
    "no JSON": (lambda f: (f / "features/batch-0.jsonl.gz").write_bytes(gzip.compress(b"{}x\n")), "line 1: not JSON"),
    "no object": (lambda f: (f / "features/batch-0.jsonl.gz").write_bytes(gzip.compress(b"[]\n")), "line 1 is no"),
    "nothing": (lambda f: (f / "features/batch-0.jsonl.gz").unlink(), "has no features"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_bulk_is_named(case: str, tmp_path: Path) -> None:
    spoil, said = WRONG[case]
    spoil(bulk(tmp_path / "bulk"))
    with pytest.raises(InputError, match=said) as told:
        read_features(tmp_path / "bulk")
    assert "bulk" in str(told.value)


def test_what_is_wrong_in_a_feature_is_named(tmp_path: Path) -> None:
    for key, value, said in (
        ("pos_values", [1.0], "zip"), ("freq_hist_data_bar_heights", [1.0], "1 heights and 2 values"),
        ("activations", [{"tokens": ["a"], "values": []}], "1 tokens and 0 activations"), ("index", "x", "invalid"),
        ("activations", [{"tokens": ["a"]}], "has no values"), ("frac_nonzero", 1.5, "share of 1.5"),
        ("pos_values", [1.0, float("nan")], "NaN or infinity"),
    ):  # fmt: skip
        (tmp_path / "7.json").write_text(json.dumps(feature_json(SOURCE, FEATURE) | {key: value}))
        with pytest.raises(InputError, match=said):
            read_feature(tmp_path / "7.json")
    with pytest.raises(InputError, match="has no modelId"):
        feature_of({"index": "1"}, "there")
    for wrong in (replace(FEATURE, largest=float("inf")), replace(FEATURE, index=-1)):
        with pytest.raises(InputError, match=r"feature (7|-1)"):
            write_feature(tmp_path / "bad.json", SOURCE, wrong)
    assert not (tmp_path / "bad.json").exists()
    with pytest.raises(InputError, match="feature 7 is there twice"):
        write_features(tmp_path / "twice", SOURCE, [FEATURE, FEATURE])
