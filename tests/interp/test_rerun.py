"""Figure = recipe: an exported figure is made again from what it carries, and a changed model is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hooks.errors import InputError
from interp.rerun import rerun
from interp.workbench import Workbench
from tests.interp.test_script import ASKED


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png", ".html", ".parquet", ".csv"])
def test_rerun_reproduces_the_data_exactly(bench: Workbench, suffix: str, tmp_path: Path) -> None:
    done = bench.run("activation_patching", "toy:random", spec={"layers": [0, 2]}, **ASKED)
    path = done.export(tmp_path / f"figure{suffix}")[0]
    again = rerun(bench, path)
    assert again.exact
    assert set(again.same) == {"cells", "pairs", "values"}
    assert not again.run.reused, "a rerun computes; it does not look the answer up"


def test_rerun_notices_a_digest_that_does_not_match(bench: Workbench, tmp_path: Path) -> None:
    done = bench.run("activation_patching", "toy:random", spec={"layers": [0]}, **ASKED)
    path = next(p for p in done.export(tmp_path / "f.csv") if "cells" in p.name)
    side = path.with_name(path.name + ".recipe.json")
    recipe = json.loads(side.read_text())
    recipe["digests"]["cells"] = "0" * 64
    side.write_text(json.dumps(recipe))
    assert not rerun(bench, path).exact


def test_rerun_refuses_other_weights(bench: Workbench, tmp_path: Path) -> None:
    done = bench.run("activation_patching", "toy:random", spec={"layers": [0]}, **ASKED)
    path = done.export(tmp_path / "f.csv")[0]
    side = path.with_name(path.name + ".recipe.json")
    side.write_text(side.read_text().replace(done.model["revision"], "0123456789abcdef"))
    with pytest.raises(InputError, match="revision"):
        rerun(bench, path)
