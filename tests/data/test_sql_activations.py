"""The relation `activations`: stored vectors as rows beside the catalogue, read only where a query needs them."""

from __future__ import annotations

import pytest
import torch

from data.captures import CaptureWriter
from data.store import Store
from hooks.errors import InputError

MODEL = {"name": "tiny", "revision": "0123"}


@pytest.fixture
def captured(store: Store) -> Store:
    """Two captures: `full` in float32 over two layers, `half` in bfloat16 outside the layers."""
    for name, dtype, keys in (
        ("full", "float32", [(0, "resid_post"), (1, "resid_post")]),
        ("half", "bfloat16", [(None, "embed")]),
    ):
        with CaptureWriter(store, name, MODEL, {"dtype": dtype}, shard_bytes=64) as writer:
            for prompt in range(3):
                tensors = {key: torch.full((2, 4), float(prompt + 10 * (key[0] or 0))) for key in keys}
                writer.add(prompt, f"prompt {prompt}", [prompt, 7], ["a", " b"], tensors)
    return store


def test_activations_are_one_relation_beside_the_catalogue(captured: Store) -> None:
    found = captured.query(
        "SELECT capture, prompt, position, layer, site, token, values FROM activations JOIN tokens "
        "USING (capture, prompt, position) WHERE layer = 1 ORDER BY prompt, position"
    )
    assert found["token"].tolist() == ["a", " b"] * 3
    assert [values.tolist() for values in found["values"]] == [[10.0] * 4] * 2 + [[11.0] * 4] * 2 + [[12.0] * 4] * 2
    counted = captured.query("SELECT capture, layer, count(*) AS n FROM activations GROUP BY ALL ORDER BY ALL")
    assert counted["n"].tolist() == [6, 6, 6]
    assert captured.query("DESCRIBE activations")["column_type"].tolist() == [
        "VARCHAR", "INTEGER", "INTEGER", "INTEGER", "VARCHAR", "FLOAT[]",
    ]  # fmt: skip


def test_activations_can_be_joined_with_themselves(captured: Store) -> None:
    found = captured.query(
        "SELECT list_dot_product(a.values, b.values) AS product FROM activations a JOIN Activations b "
        "USING (capture, prompt, position) WHERE a.layer = 0 AND b.layer = 1 AND position = 0 ORDER BY prompt"
    )
    assert found["product"].tolist() == [0.0, 44.0, 96.0]


def test_half_precision_is_widened(captured: Store) -> None:
    found = captured.query("SELECT list_sum(values) AS total FROM activations WHERE site = 'embed' ORDER BY prompt")
    assert found["total"].tolist() == [0.0, 0.0, 4.0, 4.0, 8.0, 8.0]


def test_sites_that_a_query_excludes_are_never_read(captured: Store) -> None:
    for shard in (captured.captures / "full").glob("*.safetensors"):
        shard.unlink()
    assert captured.query("SELECT count(*) AS n FROM activations WHERE capture = 'half'")["n"].tolist() == [6]
    with pytest.raises(InputError, match=r"shard .*safetensors is missing"):
        captured.query("SELECT list_sum(values) FROM activations WHERE capture = 'full'")


def test_without_captures_activations_are_empty(store: Store) -> None:
    assert store.query("SELECT * FROM activations").columns.tolist() == [
        "capture", "prompt", "position", "layer", "site", "values",
    ]  # fmt: skip
