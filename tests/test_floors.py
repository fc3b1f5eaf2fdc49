"""The floors hold, and each import-linter contract can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
FLOORS = ("kernels", "hooks", "data", "analyses", "interp", "app_pages")
BREACHES = {
    "floors: imports only downward": ("hooks/breach.py", "import interp.version\n"),
    "only pages speak Streamlit": ("interp/breach.py", "import streamlit\n"),
    "only data speaks DuckDB": ("analyses/_breach.py", "import duckdb\n"),
    "only hooks speak transformers and TransformerLens": ("data/breach.py", "import transformers\n"),
}


def copy_of_the_floors(folder: Path) -> Path:
    for floor in FLOORS:
        shutil.copytree(REPOSITORY / floor, folder / floor, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    return folder


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


def test_the_floors_hold(tmp_path: Path) -> None:
    result = lint(copy_of_the_floors(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("contract", BREACHES)
def test_each_contract_can_fail(contract: str, tmp_path: Path) -> None:
    folder = copy_of_the_floors(tmp_path)
    path, code = BREACHES[contract]
    (folder / path).write_text(code)
    result = lint(folder)
    assert result.returncode != 0
    assert f"{contract} BROKEN" in result.stdout
