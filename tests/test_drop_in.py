"""A second analysis file dropped into `analyses/` becomes a command, a page and contract tests with no other edit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
NEW_FILE = '''"""Token norms: how long is the residual stream at each token and layer?

The question is where the stream grows. Source: Heimersheim and Turner 2023, "Residual stream norms grow exponentially".
Ours: the Euclidean norm of resid_post in the model's own units, one row a layer and position, nothing normalised away.
"""

import pandas as pd
from pydantic import Field

from analyses._contract import Analysis, Column, Context, Frames, Inputs, Spec
from analyses._plots import grid, sequential_heatmap
from hooks.capture import run_with_cache
from hooks.sites import Site


class NormSpec(Spec):
    """Options."""

    skip_first: bool = Field(False, description="leave the first token out")


def run(model, inputs, spec, context):
    context.progress(0.0, "running the prompt")
    sites = [Site(layer, "resid_post") for layer in range(model.geometry.n_layers)]
    cache = run_with_cache(model, model.tokens(inputs.prompt), sites)
    rows = [
        {"layer": site.layer, "position": place, "norm": float(norm)}
        for site in sites
        for place, norm in enumerate(cache[site][0].norm(dim=-1))
        if place or not spec.skip_first
    ]
    return {"norms": pd.DataFrame(rows)}


def figures(frames, spec):
    table = grid(frames["norms"], x="position", y="layer", value="norm")
    labels = [[str(v) for v in axis] for axis in (table.columns, table.index)]
    return {"norms": sequential_heatmap(table, *labels, title="Norms", x_title="token", y_title="layer", unit="norm")}


ANALYSIS = Analysis(
    name="token_norms", title="Token norms", question="How long is the residual stream at each token?",
    meaning="Darker cells are longer residual vectors.", paper="Heimersheim and Turner 2023", needs=("prompt",),
    spec=NormSpec, run=run, figures=figures,
    columns={"norms": (Column("layer", "", "layer"), Column("position", "", "token"), Column("norm", "", "length"))},
    example={"prompt": "The capital of France is"},
)
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, models_folder: Path) -> Path:
    """The repository's code with one new file in it, and a workspace that borrows the session's toy models."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("kernels", "hooks", "data", "analyses", "interp", "app_pages", "tests"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, folder)
    (folder / "analyses" / "token_norms.py").write_text(NEW_FILE)
    (folder / "workspace").mkdir()
    (folder / "workspace" / "models").symlink_to(models_folder / "models")
    return folder


def python(copy: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("INTERP_", "PYTEST_", "PYTHONPATH"))}
    return subprocess.run(
        [sys.executable, *words], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )


def test_it_is_a_command(copy: Path, tiny: object) -> None:
    listed = python(copy, "-m", "interp", "analyses", "--json")
    assert "token_norms" in [row["name"] for row in json.loads(listed.stdout)], listed.stderr
    assert "--skip-first" in python(copy, "-m", "interp", "run", "token_norms", "--help").stdout
    words = ("run", "token_norms", "--model", "toy:random", "--prompt", "the red book", "--json")
    done = python(copy, "-m", "interp", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"]["norms"]


def test_it_has_contract_tests_that_pass(copy: Path) -> None:
    result = python(copy, "-m", "pytest", "-q", "tests/analyses/test_contract.py", "-k", "token_norms")
    assert result.returncode == 0, result.stdout[-3000:]
    assert "10 passed" in result.stdout


PAGE = """
import time

from streamlit.testing.v1 import AppTest

from analyses._registry import registry
from app_pages import _navigation


app = AppTest.from_string("from app_pages import _analysis; _analysis.page('token_norms')", default_timeout=120)
app.query_params["model"] = "toy:random"
for _ in range(60):
    app.run()
    if app.toggle or app.checkbox or app.exception:
        break
    time.sleep(1)
assert not app.exception, app.exception
words = " ".join(str(element.value) for kind in (app.title, app.header, app.markdown, app.caption) for element in kind)
assert "Token norms" in words and "residual stream" in words, words
assert any("skip" in str(box.label).lower() for box in (*app.checkbox, *app.toggle)), "no field for the option"
assert "token_norms" in registry() and "token_norms" not in _navigation.OWN_PAGE
print("page is there")
"""


def test_it_has_a_page(copy: Path, tiny: object) -> None:
    result = python(copy, "-c", PAGE)
    assert "page is there" in result.stdout, result.stdout[-2000:] + result.stderr[-2000:]
