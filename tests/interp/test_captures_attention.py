"""`interp capture --attention`: every head's numbers and largest weights as rows that SQL can ask for."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
import torch

from hooks.capture import run_with_cache
from hooks.sites import Site
from interp.workbench import Workbench

TEXTS = ["the red book", "Mary and John went to the park", "John gave a drink to Mary"]
ASKED = (
    "--site", "resid_post", "--layer", "0", "--keep", "statistics", "--attention", "--top-keys", "2", "--window", "2",
)  # fmt: skip


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "prompts.txt").write_text("\n".join(TEXTS))
    return ("--model", "toy:random", "--prompts", str(tmp_path / "prompts.txt"), "--json")


def asked(interp, sql: str) -> list[dict]:
    return json.loads(interp("sql", sql, "--json").stdout)


def test_numbers_and_largest_weights_are_rows(interp, bench: Workbench, words) -> None:
    said = interp("capture", "looked", *ASKED, *words)
    assert said.exit_code == 0, said.stderr
    model = bench.model("toy:random")
    tokens = sum(len(model.encode(text)) for text in TEXTS)
    heads = model.geometry.n_layers * model.geometry.n_heads
    assert asked(interp, "SELECT count(*) AS n FROM attention_scalars") == [{"n": tokens * heads}]
    twice = tokens - len(TEXTS)  # a prompt's first token sees only itself
    assert asked(interp, "SELECT count(*) AS n FROM attention_top") == [{"n": (tokens + twice) * heads}]
    ids = torch.tensor([model.encode(TEXTS[1])])
    pattern = run_with_cache(model, ids, [Site(2, "pattern")])[Site(2, "pattern")][0]
    for row in asked(interp, "SELECT * FROM attention_scalars WHERE prompt = 1 AND layer = 2"):
        weights = pattern[row["head"], row["position"]]
        assert row["entropy"] == pytest.approx(float(torch.special.entr(weights).sum()), abs=1e-4)
        assert row["max_weight"] == pytest.approx(float(weights[row["max_position"]]), abs=1e-5)
    for row in asked(interp, "SELECT * FROM attention_top WHERE prompt = 1 AND layer = 2"):
        weights = pattern[row["head"], row["position"]]
        assert row["weight"] == pytest.approx(float(weights.sort(descending=True).values[row["rank"]]), abs=1e-5)
        assert row["weight"] == pytest.approx(float(weights[row["source"]]), abs=1e-5)


def test_it_is_exported_resumed_and_deleted_with_the_capture(interp, words, tmp_path: Path) -> None:
    assert interp("capture", "looked", *ASKED, *words).exit_code == 0
    before = asked(interp, "SELECT count(*) AS n FROM attention_scalars")
    assert json.loads(interp("capture", "looked", *ASKED, *words).stdout)["resumed"] == len(TEXTS)
    assert asked(interp, "SELECT count(*) AS n FROM attention_scalars") == before
    file = tmp_path / "looked.duckdb"
    assert interp("capture", "looked", "--export", str(file)).exit_code == 0
    with duckdb.connect(str(file), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM attention_top").fetchall()[0][0] > 0
    assert interp("capture", "looked", "--delete").exit_code == 0
    assert asked(interp, "SELECT count(*) AS n FROM attention_scalars") == [{"n": 0}]
    assert asked(interp, "SELECT count(*) AS n FROM attention_top") == [{"n": 0}]


def test_top_keys_need_attention(interp, words) -> None:
    said = interp("capture", "looked", "--site", "resid_post", "--top-keys", "2", *words)
    assert said.exit_code == 2
    assert "add --attention" in said.stderr
