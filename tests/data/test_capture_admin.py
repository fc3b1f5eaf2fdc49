"""Captures as a whole: what is listed, what a deletion leaves, and an export that plain DuckDB opens by itself."""

from __future__ import annotations

import json
import math
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch

from data.capture_admin import delete_capture, export_duckdb, list_captures, nonfinite_in
from data.captures import CaptureWriter, Spoken, open_capture
from data.store import Store
from hooks.errors import InputError

MODEL = {"name": "tiny", "revision": "0123"}


def capture(store: Store, name: str, *, wide: bool = False, plan: dict | None = None) -> None:
    values = torch.arange(20.0).view(5, 4).bfloat16()
    sites = {(0, "resid_post"): values, (1, "resid_post"): -values}
    sites |= {(1, "mlp_post"): torch.ones(5, 9)} if wide else {}
    spoken = [Spoken(3, "a text", [7, 8, 9], ["x", " y", " z"], [0, 1, 2], [0, 0, 0]),
              Spoken(1, "other", [7, 7], ["x", "x"], [2, 4], [0, 0])]  # fmt: skip
    with CaptureWriter(store, name, MODEL, plan or {"dtype": "bfloat16"}, shard_bytes=1) as writer:
        writer.add_pack(spoken, sites)


def test_captures_are_listed_with_what_they_hold(store: Store) -> None:
    assert list_captures(store).empty
    capture(store, "one")
    capture(store, "two", plan={"keep": "statistics"})
    listed = list_captures(store).set_index("capture")
    assert listed.loc["one", ["model", "dtype", "rows", "prompts", "sites", "nonfinite"]].tolist() == [
        "tiny", "bfloat16", 5, 2, 2, 0,
    ]  # fmt: skip
    assert listed["bytes"]["one"] > 2 * 5 * 4 * 2
    assert listed["bytes"]["two"] == 0
    assert json.loads(listed["plan"]["two"]) == {"keep": "statistics"}
    assert listed["complete"].all()


def test_a_deleted_capture_is_gone_and_its_neighbour_is_not(store: Store) -> None:
    capture(store, "one")
    capture(store, "two")
    delete_capture(store, "one")
    assert list_captures(store)["capture"].tolist() == ["two"]
    assert [path.name for path in store.captures.iterdir()] == ["two"]
    for table in ("captures", "shards", "extents", "prompts", "tokens", "token_scalars"):
        column = "name" if table == "captures" else "capture"
        assert store.query(f"SELECT DISTINCT {column} AS c FROM {table}")["c"].tolist() == ["two"], table
    open_capture(store, "two").verify()
    capture(store, "one", wide=True)
    assert len(open_capture(store, "one").sites) == 3


def test_what_cannot_be_deleted(store: Store) -> None:
    capture(store, "one")
    with pytest.raises(InputError, match="unknown capture 'on': did you mean 'one'"):
        delete_capture(store, "on")
    with (
        CaptureWriter(store, "one", MODEL, {"dtype": "bfloat16"}),
        pytest.raises(InputError, match="capture 'one' is being written"),
    ):
        delete_capture(store, "one")
    assert open_capture(store, "one").n_rows == 5


def test_numbers_that_are_not_finite_are_counted_over_all_sessions(store: Store) -> None:
    for prompt in range(2):
        with CaptureWriter(store, "cap", MODEL, {}) as writer:
            writer.add(prompt, "t", [1], ["a"], {(0, "z"): torch.tensor([[1.0, math.nan, math.inf]])})
    assert nonfinite_in(store, "cap") == 4
    assert list_captures(store)["nonfinite"].tolist() == [4]


def test_an_export_opens_in_plain_duckdb(store: Store, tmp_path: Path) -> None:
    capture(store, "one")
    file = export_duckdb(open_capture(store, "one"), tmp_path / "out.duckdb")
    with duckdb.connect(str(file), read_only=True) as connection:
        kind = connection.sql("SELECT DISTINCT typeof(values) FROM activations").fetchall()
        assert kind == [("FLOAT[4]",)]
        rows = connection.sql(
            "SELECT token, position, values FROM activations JOIN tokens USING (prompt, position) "
            "WHERE layer = 1 ORDER BY prompt DESC, position"
        ).fetchall()
        places = [(token, position) for token, position, _ in rows]
        assert places == [("x", 0), (" y", 1), (" z", 2), ("x", 2), ("x", 4)]
        np.testing.assert_array_equal([values for _, _, values in rows], -np.arange(20.0).reshape(5, 4))
        assert connection.sql("SELECT name, json_extract_string(model, 'name') FROM capture").fetchall() == [
            ("one", "tiny")
        ]
        worst = connection.sql(
            "SELECT max(abs(norm - sqrt(array_inner_product(values, values)))) FROM activations "
            "JOIN token_scalars USING (prompt, position, layer, site)"
        ).fetchall()
        assert worst[0][0] < 1e-3
    assert [path.name for path in tmp_path.glob("*.duckdb*")] == ["out.duckdb"]


def test_sites_of_several_widths_are_several_tables(store: Store, tmp_path: Path) -> None:
    capture(store, "one", wide=True)
    capture(store, "slim", plan={"keep": "statistics"})
    file = export_duckdb(open_capture(store, "one"), tmp_path / "out.duckdb")
    export_duckdb(open_capture(store, "slim"), tmp_path / "slim.duckdb")
    with duckdb.connect(str(file), read_only=True) as connection:
        counts = {w: connection.sql(f"SELECT count(*) FROM activations_{w}").fetchall()[0][0] for w in (4, 9)}
        assert counts == {4: 10, 9: 5}
    with duckdb.connect(str(tmp_path / "slim.duckdb"), read_only=True) as connection:
        assert connection.sql("SELECT count(*) FROM token_scalars").fetchall() == [(10,)]
    with pytest.raises(InputError, match="holds no values to export"):
        open_capture(store, "slim").export_parquet(tmp_path / "slim.parquet")
