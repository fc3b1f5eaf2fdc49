"""Frames come back exactly as they were saved, whatever was saved to the same table before."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.frames import decode_frame, encode_frame
from data.store import RunRecord, Store
from hooks.errors import InputError

FLOATS = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
WHOLE = {f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)}
WHOLE |= {f"uint{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)}
NULLABLE = {"int8": "Int8", "int64": "Int64", "uint64": "UInt64", "uint8": "UInt8"}
NAMES = st.sampled_from(["layer", "Layer", "position", "value", "run", "row", "two words", 'quo"te', "größe", "value_"])

KEYS = [f"k{number}" for number in range(12)]


def exactly(frame: pd.DataFrame) -> list[tuple[str, str, list[str]]]:
    """Every name, dtype and value as text: tells NaN, None and NA apart, and 0.0 from -0.0."""
    return [(name, repr(frame[name].dtype), [repr(value) for value in frame[name]]) for name in frame.columns]


@st.composite
def columns(draw: st.DrawFn, rows: int) -> pd.Series:
    """A column of any supported type."""

    def values(of: st.SearchStrategy) -> list:
        return draw(st.lists(of, min_size=rows, max_size=rows))

    kind = draw(st.sampled_from(["float", "bool", "whole", "nullable", "masked float", "str", "string", "object",
                                 "category"]))  # fmt: skip
    if kind == "float":
        dtype = draw(st.sampled_from(["float16", "float32", "float64"]))
        with np.errstate(over="ignore"):
            return pd.Series(np.array(values(FLOATS), dtype="float64").astype(dtype))
    if kind == "bool":
        return pd.Series(values(st.booleans()), dtype=draw(st.sampled_from(["bool", "boolean"])))
    if kind in ("whole", "nullable"):
        dtype = draw(st.sampled_from(sorted(WHOLE if kind == "whole" else NULLABLE)))
        low, high = WHOLE[dtype]
        plain = pd.Series(np.array(values(st.integers(low, high)), dtype=dtype))
        if kind == "whole":
            return plain
        return plain.astype(NULLABLE[dtype]).mask(pd.Series(values(st.booleans()), dtype=bool))
    if kind == "masked float":
        return pd.Series(pd.arrays.FloatingArray(np.array(values(FLOATS)), np.array(values(st.booleans()), dtype=bool)))
    if kind in ("str", "string"):
        missing = np.nan if kind == "str" else pd.NA
        return pd.Series(values(st.one_of(TEXT, st.just(missing))), dtype=kind)
    if kind == "object":
        of, missing = draw(st.sampled_from([(TEXT, None), (TEXT, math.nan), (st.booleans(), pd.NA), (FLOATS, None),
                                            (st.integers(-5, 5), math.nan)]))  # fmt: skip
        return pd.Series(values(st.one_of(of, st.just(missing))), dtype=object)
    return pd.Series(values(st.sampled_from(["a", "b\nc", None])), dtype=pd.CategoricalDtype(["b\nc", "a", "z"], True))


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """A frame of a few columns and rows, maybe without either."""
    rows = draw(st.integers(0, 5))
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    return pd.DataFrame({name: draw(columns(rows)) for name in names}, index=pd.RangeIndex(rows))


@given(frame=frames())
@settings(max_examples=300, deadline=None)
def test_a_frame_survives_arrow_exactly(frame: pd.DataFrame) -> None:
    encoded = encode_frame("cells", frame)
    back = decode_frame(encoded.describe(), encoded.table(), encoded.n_rows)
    assert exactly(back) == exactly(frame)
    assert len(back) == len(frame)


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, pd.DataFrame]]:
    return Store(tmp_path_factory.mktemp("growing")), {}


@given(frame=frames(), data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_frames_of_any_types_share_one_table_and_lose_nothing(
    growing: tuple[Store, dict[str, pd.DataFrame]],
    make_record: Callable[..., RunRecord],
    frame: pd.DataFrame,
    data: st.DataObject,
) -> None:
    store, saved = growing
    key = data.draw(st.sampled_from(KEYS))
    store.save_run(make_record(key), {"cells": frame})
    saved[key] = frame
    for other in {key, data.draw(st.sampled_from(KEYS))} & set(saved):
        back = store.load_frames(other)["cells"]
        assert exactly(back) == exactly(saved[other])
        assert len(back) == len(saved[other])


def test_whole_numbers_and_floats_share_a_column_while_that_is_exact(
    store: Store, make_record: Callable[..., RunRecord]
) -> None:
    store.save_run(make_record("whole"), {"cells": pd.DataFrame({"rank": [1, 2]})})
    store.save_run(make_record("float"), {"cells": pd.DataFrame({"rank": [0.5, math.nan]})})
    store.save_run(make_record("huge"), {"cells": pd.DataFrame({"rank": [2**60 + 1]})})
    store.save_run(make_record("text"), {"cells": pd.DataFrame({"rank": ["first"]})})
    kinds = store.query("SELECT column_name, column_type FROM (DESCRIBE probe__cells)")
    assert list(kinds["column_name"]) == ["run", "row", "rank", "rank__bigint", "rank__varchar"]
    assert list(kinds["column_type"]) == ["VARCHAR", "BIGINT", "DOUBLE", "BIGINT", "VARCHAR"]
    assert store.load_frames("whole")["cells"]["rank"].tolist() == [1, 2]
    assert store.load_frames("whole")["cells"]["rank"].dtype == "int64"
    assert store.load_frames("huge")["cells"]["rank"].tolist() == [2**60 + 1]


def test_nan_is_nan_in_sql_and_missing_is_null(store: Store, make_record: Callable[..., RunRecord]) -> None:
    frame = pd.DataFrame({"value": [1.0, math.nan], "rank": pd.array([None, 3], dtype="Int64")})
    store.save_run(make_record(), {"cells": frame})
    found = store.query(
        "SELECT isnan(value) AS nan, value IS NULL AS gone, rank IS NULL AS rank_gone FROM probe__cells"
    )
    assert found["nan"].tolist() == [False, True]
    assert found["gone"].tolist() == [False, False]
    assert found["rank_gone"].tolist() == [True, False]


def test_row_order_is_kept_for_many_rows(store: Store, make_record: Callable[..., RunRecord]) -> None:
    values = np.random.default_rng(0).normal(size=20_000)
    store.save_run(make_record(), {"cells": pd.DataFrame({"value": values})})
    assert (store.load_frames("k1")["cells"]["value"].to_numpy() == values).all()


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame({"a": [[1, 2]]}), "column 'a' of frame 'cells' holds objects of types list"),
        (pd.DataFrame({"a": ["x", 1]}), "int, str"),
        (pd.DataFrame({"a": pd.Series([None, math.nan, "x"], dtype=object)}), "NoneType, float, str"),
        (pd.DataFrame({"a": pd.Series([2**70], dtype=object)}), "cannot be stored as BIGINT"),
        (pd.DataFrame({"a": pd.Series(["\ud800"], dtype=object)}), "cannot be stored as VARCHAR"),
        (pd.DataFrame({"a": [1 + 2j]}), "complex128, which is not stored"),
        (pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}), "datetime64"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "several columns named ['a']"),
        (pd.DataFrame([[1]], columns=[0]), "a column named 0"),
        (pd.DataFrame({"a": [1]}, index=["x"]), "call reset_index()"),
        (pd.DataFrame({"a": [1]}, index=pd.Index([0], name="layer")), "call reset_index()"),
    ],
)
def test_what_cannot_be_kept_exactly_is_refused_by_name(frame: pd.DataFrame, says: str) -> None:
    with pytest.raises(InputError) as caught:
        encode_frame("cells", frame)
    assert says in str(caught.value)


def test_a_filtered_frame_is_kept_without_its_leftover_index() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]})
    encoded = encode_frame("cells", frame[frame["a"] > 1])
    assert decode_frame(encoded.describe(), encoded.table(), encoded.n_rows)["a"].tolist() == [2, 3]
