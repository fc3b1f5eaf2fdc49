"""Runs: found by key, replaced whole, listed, deleted; parts of interrupted runs."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from data.store import RunRecord, Store
from hooks.errors import InputError

Make = Callable[..., RunRecord]
CELLS = pd.DataFrame({"layer": [0, 1], "value": [0.1, 0.2]})


def test_a_run_comes_back_as_it_was(store: Store, make_record: Make) -> None:
    record = make_record()
    store.save_run(record, {"cells": CELLS, "summary": CELLS.head(1)})
    assert store.find_run("k1") == record
    assert list(store.load_frames("k1")) == ["cells", "summary"]


def test_an_unknown_run_is_none_and_its_frames_are_an_error(store: Store) -> None:
    assert store.find_run("nothing") is None
    with pytest.raises(InputError, match="no run 'nothing'"):
        store.load_frames("nothing")
    with pytest.raises(InputError, match="no run 'nothing'"):
        store.delete_run("nothing")


def test_saving_a_key_again_replaces_record_and_frames(store: Store, make_record: Make) -> None:
    store.save_run(make_record(status="failed", error="boom\nat line 2"), {"cells": CELLS, "gone": CELLS})
    store.save_run(make_record(seconds=2.0), {"cells": CELLS.head(1)})
    found = store.find_run("k1")
    assert found is not None
    assert (found.status, found.error, found.seconds) == ("done", "", 2.0)
    assert {name: len(frame) for name, frame in store.load_frames("k1").items()} == {"cells": 1}
    assert store.query("SELECT count(*) AS n FROM probe__gone")["n"].tolist() == [0]


def test_results_are_tables_that_sql_reads_naturally(store: Store, make_record: Make) -> None:
    store.save_run(make_record("k1"), {"cells": CELLS})
    store.save_run(make_record("k2", analysis="other_probe"), {"cells": CELLS})
    joined = store.query(
        "SELECT key, inputs->>'prompt' AS prompt, layer, value FROM probe__cells JOIN runs ON key = run ORDER BY row"
    )
    assert joined["layer"].tolist() == [0, 1]
    assert joined["prompt"].tolist() == ["Ünïcode\nand a second line"] * 2
    assert joined["value"].tolist() == [0.1, 0.2]
    assert {"probe__cells", "other_probe__cells"} <= set(store.query("SHOW TABLES")["name"])


def test_models_are_stored_once_and_told_apart_by_any_field(store: Store, make_record: Make) -> None:
    for key, revision in (("k1", "a"), ("k2", "a"), ("k3", "b")):
        store.save_run(make_record(key, model={"name": "tiny", "revision": revision}), {})
    assert store.query("SELECT revision FROM models ORDER BY 1")["revision"].tolist() == ["a", "b"]


def test_runs_are_listed_newest_first(store: Store, make_record: Make) -> None:
    assert store.list_runs().empty
    store.save_run(make_record("old", created="2026-01-01T00:00:00+00:00"), {})
    store.save_run(make_record("new", created="2026-01-02T00:00:00+00:00", status="cancelled"), {})
    listed = store.list_runs()
    assert listed["key"].tolist() == ["new", "old"]
    assert listed["status"].tolist() == ["cancelled", "done"]
    assert listed["model"].tolist() == ["tiny", "tiny"]


def test_a_deleted_run_leaves_nothing(store: Store, make_record: Make) -> None:
    store.save_run(make_record("k1"), {"cells": CELLS})
    store.save_run(make_record("k2"), {"cells": CELLS})
    store.save_part("k1", "layer 0", CELLS)
    store.delete_run("k1")
    assert store.find_run("k1") is None
    assert store.load_part("k1", "layer 0") is None
    assert store.query("SELECT DISTINCT run FROM probe__cells")["run"].tolist() == ["k2"]


def test_parts_survive_until_the_run_is_done(store: Store, make_record: Make) -> None:
    store.save_part("k1", "layer 0", CELLS.head(1))
    store.save_part("k1", "layer 0", CELLS)
    store.save_run(make_record(status="cancelled"), {})
    part = store.load_part("k1", "layer 0")
    assert part is not None
    pd.testing.assert_frame_equal(part, CELLS, check_exact=True)
    assert store.load_part("k1", "layer 1") is None
    store.save_run(make_record(), {"cells": CELLS})
    assert store.load_part("k1", "layer 0") is None


def test_parts_can_be_dropped_and_may_have_no_columns(store: Store) -> None:
    store.save_part("k1", "counted", pd.DataFrame(index=range(3)))
    part = store.load_part("k1", "counted")
    assert part is not None
    assert part.shape == (3, 0)
    store.drop_parts("k1")
    assert store.load_part("k1", "counted") is None


@pytest.mark.parametrize(
    ("changes", "frames", "says"),
    [
        ({"status": "maybe"}, {}, "done, failed, cancelled"),
        ({"spec": {"layers": {1, 2}}}, {}, "spec of run k1 cannot be stored as JSON"),
        ({"analysis": "a__b"}, {"cells": CELLS}, "analysis name 'a__b'"),
        ({}, {"Cells; DROP": CELLS}, "frame name 'Cells; DROP'"),
    ],
)
def test_bad_runs_are_refused_before_anything_is_written(
    store: Store, make_record: Make, changes: dict, frames: dict, says: str
) -> None:
    with pytest.raises(InputError) as caught:
        store.save_run(make_record(**changes), frames)
    assert says in str(caught.value)
    assert store.list_runs().empty


def test_an_error_in_the_middle_of_a_transaction_changes_nothing(store: Store, make_record: Make) -> None:
    store.save_run(make_record(), {"cells": CELLS})

    def fail_half_way() -> None:
        with store.database.writing() as connection:
            connection.execute("DELETE FROM runs")
            connection.execute("DELETE FROM probe__cells")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    pd.testing.assert_frame_equal(store.load_frames("k1")["cells"], CELLS, check_exact=True)
