"""Packed prompts: each as if it were alone, at every site, in every family; nothing computed that nobody asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hooks.attention import register
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.load import load
from hooks.model import Model
from hooks.packed_run import run_packed
from hooks.packing import PackedRow, pack_rows
from hooks.sites import PATTERN_KINDS, Site

ODD = [5, 1, 3, 5, 17, 13, 1, 2, 31]


@pytest.fixture
def prompts(any_tiny: Model, draw) -> dict[int, list[int]]:
    return {index: draw(any_tiny, 1, n, seed=index)[0].tolist() for index, n in enumerate(ODD)}


def packed_run(model: Model, row: PackedRow, sites: list[Site]) -> dict[Site, Tensor]:
    found: dict[Site, Tensor] = {}
    run_packed(model, row, sites, lambda site, values: found.update({site: values.clone()}))
    return found


def largest_difference(model: Model, rows: list[PackedRow], sites: list[Site]) -> float:
    """Between packed and plain activations, over all prompts and sites."""
    worst = []
    for row in rows:
        found = packed_run(model, row, sites)
        for ids, at in zip(row.token_ids, row.starts, strict=True):
            alone = run_with_cache(model, torch.tensor([ids]), sites)
            worst += [(found[s][:, at : at + len(ids)].float() - alone[s].float()).abs().max() for s in sites]
    return float(torch.stack(worst).max())


@pytest.mark.parametrize("row_tokens", [1, 20, 1000])
def test_packed_equals_plain(any_tiny: Model, prompts, sites_of, row_tokens: int) -> None:
    sites = [site for site in sites_of(any_tiny.geometry) if site.kind not in PATTERN_KINDS]
    sites += [Site(1, "z", head=1), Site(0, "v", head=0)]
    assert largest_difference(any_tiny, pack_rows(prompts, row_tokens), sites) <= 1e-5


def test_prompts_that_see_each_other_would_be_noticed(any_tiny: Model, prompts) -> None:
    """The comparison above must be able to fail: two prompts run as one are far from either."""
    joined = PackedRow((0,), (tuple(prompts[0] + prompts[3]),))
    alone = run_with_cache(any_tiny, torch.tensor([prompts[3]]), [Site(1, "resid_post")])[Site(1, "resid_post")]
    together = packed_run(any_tiny, joined, [Site(1, "resid_post")])[Site(1, "resid_post")]
    assert (together[:, len(prompts[0]) :] - alone).abs().max() > 1e-3


def test_rows_hold_every_prompt_once_within_the_budget(any_tiny: Model, prompts) -> None:
    rows = pack_rows(prompts, 20)
    assert sorted(index for row in rows for index in row.prompts) == sorted(prompts)
    assert all(row.n_tokens <= 20 or len(row.prompts) == 1 for row in rows)
    assert sum(row.n_tokens for row in rows) == sum(ODD), "not one pad token"
    assert rows[0].positions().tolist() == [[0, 0, 0, 1, 0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4]]
    assert rows[0].runs == ((2, 1), (1, 2), (1, 3), (2, 5))


def test_the_forward_ends_at_the_last_site_asked_for(any_tiny: Model, prompts) -> None:
    ran: list[str] = []
    geometry, anatomy = any_tiny.geometry, any_tiny.anatomy
    watched = {f"{anatomy.blocks}.{layer}": f"block {layer}" for layer in range(geometry.n_layers)}
    watched |= {anatomy.final_norm: "norm"}
    handles = [
        any_tiny.module.get_submodule(path).register_forward_pre_hook(lambda *_, what=what: ran.append(what))
        for path, what in watched.items()
    ]
    head = any_tiny.module.get_output_embeddings()
    handles.append(head.register_forward_pre_hook(lambda *_: ran.append("logits")))
    try:
        packed_run(any_tiny, pack_rows(prompts, 100)[0], [Site(0, "mlp_out"), Site(None, "embed")])
        assert ran == ["block 0"]
        ran.clear()
        packed_run(any_tiny, pack_rows(prompts, 100)[0], [Site(None, "ln_final_scale")])
        assert ran == [*list(watched.values())[: geometry.n_layers], "norm"]
    finally:
        for handle in handles:
            handle.remove()


def test_nothing_stays_behind_after_a_run_or_an_error(any_tiny: Model, prompts) -> None:
    row = pack_rows(prompts, 100)[0]
    before = any_tiny.logits(torch.tensor([prompts[4]]))
    parts = list(any_tiny.module.modules())
    hooks = sum(len(p._forward_hooks) + len(p._forward_pre_hooks) for p in parts)

    def broken(site: Site, values: Tensor) -> None:
        raise RuntimeError("full")

    packed_run(any_tiny, row, [Site(1, "v"), Site(0, "z")])
    with pytest.raises(RuntimeError, match="full"):
        run_packed(any_tiny, row, [Site(0, "v"), Site(1, "z")], broken)
    with pytest.raises(InputError, match="patterns are not written out for packed prompts"):
        packed_run(any_tiny, row, [Site(0, "pattern")])
    assert not any(hasattr(part, name) for part in parts for name in ("interp_packed", "interp_taps"))
    assert sum(len(p._forward_hooks) + len(p._forward_pre_hooks) for p in parts) == hooks
    assert torch.equal(any_tiny.logits(torch.tensor([prompts[4]])), before)


def test_no_mask_of_the_whole_row_is_built(tiny: Model, draw) -> None:
    """Masks are asked of transformers by name; a packed run must not ask."""
    from transformers import AttentionMaskInterface

    from hooks.attention import NAME

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a mask was built")

    row = pack_rows({0: draw(tiny, 1, 5)[0].tolist(), 1: draw(tiny, 1, 3)[0].tolist()}, 100)[0]
    AttentionMaskInterface.register(NAME, refused)
    try:
        assert packed_run(tiny, row, [Site(2, "resid_post")])[Site(2, "resid_post")].shape[1] == 8
        with pytest.raises(AssertionError, match="a mask was built"):
            tiny.logits(torch.tensor([[1, 2, 3]]))
    finally:
        register()


def test_a_sliding_window_slides_in_every_prompt(tiny: Model, draw, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, MistralConfig

    config = MistralConfig(
        vocab_size=tiny.geometry.d_vocab, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, sliding_window=4,
        initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    tiny.tokenizer.save_pretrained(tmp_path / "model")
    model = load(str(tmp_path / "model"), tmp_path)
    given = {index: draw(model, 1, n, seed=index)[0].tolist() for index, n in enumerate([3, 4, 5, 17, 5])}
    assert largest_difference(model, pack_rows(given, 100), [Site(1, "z"), Site(1, "resid_post")]) <= 1e-5


@pytest.mark.parametrize(
    ("prompts", "budget", "says"),
    [
        ({0: [1], 7: []}, 8, "prompt 7 is empty and cannot be packed"),
        ({3: [1] * 9}, 8, "prompt 3 has 9 tokens; this model reads at most 8"),
        ({0: [1]}, 0, "row_tokens 0"),
    ],
)
def test_what_cannot_be_packed_is_refused(prompts: dict[int, list[int]], budget: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        pack_rows(prompts, budget, n_ctx=8)
