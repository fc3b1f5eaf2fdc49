"""Captures: what is added comes back bit for bit, over one shard or many, after interruptions and in SQL."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from data.captures import CaptureWriter, Spoken, open_capture
from data.store import Store

MODEL = {"name": "tiny", "revision": "0123"}
KEYS = [(None, "embed"), (0, "resid_post"), (1, "resid_post"), (1, "z")]


def tokens_of(prompt: int) -> list[int]:
    return list(range(100 * prompt, 100 * prompt + 2 + prompt % 3))


def tensors_of(prompt: int) -> dict[tuple[int | None, str], Tensor]:
    """Random values for one prompt: three sites of width 8 and one of [head 2, d_head 3]."""
    generator = torch.Generator().manual_seed(prompt)
    rows = len(tokens_of(prompt))
    return {key: torch.randn((rows, 2, 3) if key[1] == "z" else (rows, 8), generator=generator) for key in KEYS}


def add(writer: CaptureWriter, prompt: int) -> None:
    ids = tokens_of(prompt)
    writer.add(prompt, f"prompt\n{prompt} é", ids, [f"·{token}\n" for token in ids], tensors_of(prompt))


def capture(
    store: Store, name: str = "cap", prompts: range = range(5), dtype: str = "float32", shard: int = 300
) -> None:
    with CaptureWriter(store, name, MODEL, {"dtype": dtype}, shard_bytes=shard) as writer:
        for prompt in prompts:
            add(writer, prompt)


def expected(key: tuple[int | None, str], prompts: range = range(5), dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.cat([tensors_of(prompt)[key] for prompt in prompts]).to(dtype)


@pytest.mark.parametrize("shard", [1, 700, 1 << 20], ids=["a shard a prompt", "some shards", "one shard"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_site_comes_back_bit_for_bit(store: Store, dtype: str, shard: int) -> None:
    capture(store, dtype=dtype, shard=shard)
    reader = open_capture(store, "cap")
    assert reader.sites == KEYS
    assert reader.dtype == dtype
    for key in KEYS:
        found = reader.layer(key[1], key[0])
        assert found.dtype == getattr(torch, dtype)
        assert torch.equal(found, expected(key, dtype=getattr(torch, dtype)))
    reader.verify()


def test_tokens_line_up_with_the_rows(store: Store) -> None:
    capture(store)
    reader = open_capture(store, "cap")
    tokens = reader.tokens()
    assert tokens.columns.tolist() == ["prompt", "position", "token_id", "token"]
    assert len(tokens) == reader.n_rows == reader.layer("resid_post", 0).shape[0]
    for row in (0, 7, len(tokens) - 1):
        prompt, position = int(tokens["prompt"][row]), int(tokens["position"][row])
        assert torch.equal(reader.layer("resid_post", 1)[row], tensors_of(prompt)[(1, "resid_post")][position])
        assert tokens["token_id"][row] == tokens_of(prompt)[position]
        assert tokens["token"][row] == f"·{tokens['token_id'][row]}\n"


def test_one_shard_is_mapped_and_writing_to_the_tensor_never_reaches_the_file(store: Store) -> None:
    capture(store, shard=1 << 20)
    (file,) = (store.captures / "cap").glob("*.safetensors")
    before = file.read_bytes()
    reader = open_capture(store, "cap")
    tensor = reader.layer("resid_post", 0)
    assert tensor.data_ptr() == reader.layer("resid_post", 0).data_ptr()
    tensor.zero_()
    assert file.read_bytes() == before
    assert torch.equal(open_capture(store, "cap").layer("resid_post", 0), expected((0, "resid_post")))


def test_shards_are_plain_safetensors_files_that_explain_themselves(store: Store) -> None:
    capture(store, dtype="bfloat16", shard=1 << 20)
    (file,) = (store.captures / "cap").glob("*.safetensors")
    with safe_open(str(file), framework="pt") as shard:
        assert set(shard.keys()) == {"embed", "0.resid_post", "1.resid_post", "1.z"}
        assert torch.equal(shard.get_tensor("1.z"), expected((1, "z"), dtype=torch.bfloat16))
        assert json.loads(shard.metadata()["prompts"]) == [[prompt, len(tokens_of(prompt))] for prompt in range(5)]


def test_scalars_of_every_vector_are_columns(store: Store) -> None:
    capture(store, dtype="bfloat16")
    stored = expected((1, "resid_post"), dtype=torch.bfloat16).float()
    found = store.query("FROM token_scalars WHERE site = 'resid_post' AND layer = 1 ORDER BY prompt, position")
    np.testing.assert_array_equal(found["argmax"], stored.abs().argmax(1).numpy())
    np.testing.assert_array_equal(found["max_abs"], stored.abs().amax(1).numpy())
    np.testing.assert_allclose(found["norm"], stored.norm(dim=1).numpy(), rtol=1e-6)


def test_nan_and_infinities_are_counted_where_they_are(store: Store) -> None:
    tensors = tensors_of(0)
    tensors[(0, "resid_post")][0, 3] = math.nan
    tensors[(1, "resid_post")][1, :2] = -math.inf
    tensors[(1, "z")][0, 0, 0] = 1e6  # too large for float16
    with CaptureWriter(store, "cap", MODEL, {"dtype": "float16"}) as writer:
        writer.add(0, "text", tokens_of(0), ["a", "b"], tensors)
    assert writer.nonfinite == 4
    found = store.query("SELECT layer, site, nan_count, inf_count FROM extents ORDER BY byte_offset")
    assert found["nan_count"].tolist() == [0, 1, 0, 0]
    assert found["inf_count"].tolist() == [0, 0, 2, 1]
    norms = store.query("SELECT norm FROM token_scalars WHERE layer = 0 ORDER BY position")["norm"]
    assert math.isnan(norms[0])
    assert math.isfinite(norms[1])


def test_an_interrupted_capture_resumes_without_duplicates(store: Store) -> None:
    def stop_after_two() -> None:
        with CaptureWriter(store, "cap", MODEL, {"dtype": "float32"}) as writer:
            add(writer, 0)
            add(writer, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_after_two()
    assert not open_capture(store, "cap").complete
    with CaptureWriter(store, "cap", MODEL, {"dtype": "float32"}, shard_bytes=1) as writer:
        assert writer.done() == {0, 1}
        for prompt in range(5):
            add(writer, prompt)
        writer.commit()
        assert writer.done() == {0, 1, 2, 3, 4}
    reader = open_capture(store, "cap")
    assert reader.complete
    assert torch.equal(reader.layer("embed", None), expected((None, "embed")))
    assert not reader.tokens().duplicated(["prompt", "position"]).any()


def test_an_open_reader_does_not_see_later_commits(store: Store) -> None:
    capture(store, prompts=range(2))
    reader = open_capture(store, "cap")
    capture(store, prompts=range(5))
    assert len(reader.tokens()) == reader.n_rows == expected((0, "resid_post"), range(2)).shape[0]
    assert torch.equal(reader.layer("resid_post", 0), expected((0, "resid_post"), range(2)))


def test_prompts_out_of_order_keep_the_order_of_commits(store: Store) -> None:
    with CaptureWriter(store, "cap", MODEL, {}) as writer:
        add(writer, 4)
        add(writer, 1)
    reader = open_capture(store, "cap")
    assert reader.tokens()["prompt"].unique().tolist() == [4, 1]
    assert torch.equal(reader.layer("resid_post", 0)[:3], tensors_of(4)[(0, "resid_post")])


def test_parquet_holds_every_vector_with_its_token(store: Store, tmp_path: Path) -> None:
    capture(store, dtype="bfloat16")
    file = open_capture(store, "cap").export_parquet(tmp_path / "out.parquet")
    rows = pq.read_table(file).to_pandas()
    assert len(rows) == 4 * expected((0, "resid_post")).shape[0]
    wanted = rows[(rows["site"] == "z") & (rows["layer"] == 1)]
    assert wanted["token_id"].tolist() == [token for prompt in range(5) for token in tokens_of(prompt)]
    np.testing.assert_array_equal(
        np.stack(wanted["values"]), expected((1, "z"), dtype=torch.bfloat16).float().flatten(1).numpy()
    )
    assert [path.name for path in tmp_path.glob("*.parquet*")] == ["out.parquet"]


def test_an_empty_capture_is_there_and_has_no_sites(store: Store) -> None:
    with CaptureWriter(store, "cap", MODEL, {}):
        pass
    reader = open_capture(store, "cap")
    assert (reader.sites, reader.n_rows, reader.complete) == ([], 0, True)
    assert reader.tokens().empty


def test_tokens_that_were_selected_keep_their_positions(store: Store) -> None:
    values = torch.arange(10.0)[:, None].expand(10, 4)
    first = Spoken(7, "first", [5, 6], ["a", "b"], [1, 4], [0, 0])
    second = Spoken(2, "second", [8, 9, 3], ["c", "d", "e"], [0, 5, 6], [0, 1, 2])
    with CaptureWriter(store, "cap", MODEL, {"tokens": "random:2"}) as writer:
        writer.add_pack([first, second], {(3, "resid_post"): values[:5]})
        writer.commit()
        third = Spoken(4, "third", [1], ["f"], [9], [0])
        writer.add_pack([third], {(3, "resid_post"): values[5:6]})
    assert open_capture(store, "cap").tokens()["position"].tolist() == [1, 4, 0, 5, 6, 9]
    rows = store.query("SELECT prompt, position, values[1] AS value FROM activations ORDER BY value")
    assert rows["prompt"].tolist() == [7, 7, 2, 2, 2, 4]
    assert rows["position"].tolist() == [1, 4, 0, 5, 6, 9]
    scalars = store.query("SELECT position, max_abs FROM token_scalars ORDER BY max_abs")
    assert scalars["position"].tolist() == [1, 4, 0, 5, 6, 9]
    steps = store.query("SELECT token, step FROM generated_tokens JOIN tokens USING (capture, prompt, position)")
    assert sorted(zip(steps["token"], steps["step"], strict=True)) == [("d", 1), ("e", 2)]
