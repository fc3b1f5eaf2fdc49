"""Recipes are checked, digests are exact, and comparisons agree with digests."""

import math

import numpy as np
import pandas as pd
import pytest

from hooks.errors import InputError
from interp.recipe import build_recipe, check_recipe, compare_frames, frame_digest, from_json, to_json

PARTS = {
    "workbench": "0.1.0", "analysis": "logit_lens", "analysis_version": 1, "figure": "lens", "model": {"name": "m"},
    "inputs": {"prompt": "a"}, "spec": {"k": 5}, "checks": {}, "run": "key", "command": "interp run logit_lens",
}  # fmt: skip


def frame(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns)


SAME = [
    (frame(v=[1.0, np.nan]), frame(v=[1.0, np.nan]).set_index(pd.Index([7, 8]))),
    (frame(v=[0.0]), frame(v=[-0.0])),
    (frame(t=["a", None]), frame(t=["a", np.nan])),
    (frame(t=[[1, 2.0, "x"]]), frame(t=[(1, 2.0, "x")])),
]
DIFFERENT = [
    (frame(v=[1.0]), frame(v=[np.nextafter(1.0, 2.0)])),
    (frame(v=[1.0]), frame(w=[1.0])),
    (frame(v=[1.0]), frame(v=np.array([1.0], dtype=np.float32))),
    (frame(v=[1]), frame(v=[1.0])),
    (frame(v=[1, 2]), frame(v=[2, 1])),
    (frame(t=["ab", "c"]), frame(t=["a", "bc"])),
    (frame(t=["a", None]), frame(t=["a", ""])),
    (frame(v=[1.0, np.nan]), frame(v=[1.0, 2.0])),
    (frame(t=[[1, 2], [3]]), frame(t=[[1], [2, 3]])),
    (frame(v=[True]), frame(v=[1])),
    (frame(a=[1], b=[2]), frame(b=[2], a=[1])),
    (frame(v=[1.0, 1.0]), frame(v=[1.0])),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_equal_frames_have_equal_digests(a: pd.DataFrame, b: pd.DataFrame) -> None:
    assert frame_digest(a) == frame_digest(b)
    assert compare_frames({"f": a}, {"f": b})["equal"].all()


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_any_difference_shows_in_the_digest_and_the_comparison(a: pd.DataFrame, b: pd.DataFrame) -> None:
    assert frame_digest(a) != frame_digest(b)
    assert not compare_frames({"f": a}, {"f": b})["equal"].all()


def test_the_digest_stays_what_files_already_carry() -> None:
    table = frame(layer=[0, 1], v=[0.5, np.nan], t=["␣a", None], ok=[True, False])
    assert frame_digest(table) == "e15de780c75c20e2d30e5af82d5c06f0dce1a4a37f411bccd7f100e2de38972e"


def test_a_cell_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="a cell of type object"):
        frame_digest(frame(v=[object()]))


def test_the_comparison_tells_how_far_apart_numbers_are() -> None:
    a, b = frame(v=[1.0, 2.0], t=["x", "y"]), frame(v=[1.0, 2.5], t=["x", "z"])
    table = compare_frames({"f": a}, {"f": b}).set_index("column")
    assert table.loc["v", "max_abs_difference"] == 0.5
    assert math.isnan(table.loc["t", "max_abs_difference"])
    lost = compare_frames({"f": a}, {"f": frame(v=[1.0, np.nan], t=["x", "y"])}).set_index("column")
    assert lost.loc["v", "max_abs_difference"] == np.inf
    assert lost.loc["t", "equal"]


def test_a_frame_on_one_side_only_is_unequal() -> None:
    table = compare_frames({"f": frame(v=[1])}, {})
    assert list(table["equal"]) == [False]
    assert list(table["note"]) == ["only in the first"]


def test_a_recipe_is_json_that_no_format_can_misread() -> None:
    nasty = "]]> </script> <!-- \" ' & 日本 \U0001f600 \udc80 \x00"
    recipe = build_recipe(**(PARTS | {"inputs": {"prompt": nasty}}), frames={"f": frame(v=[1.0])})
    text = to_json(recipe)
    assert text.isascii()
    assert not set(text) & set("<>&\x00")
    assert from_json(text, "here") == recipe
    assert recipe["digests"] == {"f": frame_digest(frame(v=[1.0]))}


def test_what_is_no_recipe_is_refused_by_name() -> None:
    recipe = build_recipe(**PARTS, frames={})
    with pytest.raises(InputError, match=r"file\.svg.*missing \['run'\]"):
        check_recipe({key: value for key, value in recipe.items() if key != "run"}, "file.svg")
    with pytest.raises(InputError, match=r"analysis_version \(int\)"):
        check_recipe(recipe | {"analysis_version": True})
    with pytest.raises(InputError, match=r"not plain JSON"):
        build_recipe(**(PARTS | {"spec": {"k": math.nan}}), frames={})
    with pytest.raises(InputError, match=r"file\.svg.*damaged"):
        from_json("{", "file.svg")
