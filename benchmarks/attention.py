"""Attention statistics: one call beside plain SDPA, and whole forwards beside TransformerLens' cached patterns."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks._harness import Row, at_most, compared, faster, in_turns, timed, within
from benchmarks._memory import peak_bytes
from hooks.attention_statistics import StatisticsPlan, attention_statistics
from hooks.load import load
from hooks.model import Model
from kernels.attention_stats import AttentionStats, attention_stats

LENGTH, HEADS, GROUPS, WIDTH = 4096, 9, 3, 64
RECENT, SINK = 64, 1
WHOLE, LONGEST = 2048, 8192
PLAN = StatisticsPlan(spans=(("sink", 0, SINK),), recency=(RECENT,))


def rows(workspace: Path) -> Iterator[Row]:
    """One attention call of 4,096 tokens, then whole forwards of 2,048 and 8,192."""
    yield from _one_call()
    model = load("smollm2-135m", workspace)
    yield from _whole_forward(model)
    yield from _longest(model)


def _one_call() -> Iterator[Row]:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, heads, LENGTH, WIDTH, generator=generator) for heads in (HEADS, GROUPS, GROUPS))
    spans = torch.zeros(1, 1, LENGTH, dtype=torch.bool)
    spans[..., :SINK] = True
    asked = {"spans": spans, "recency": (RECENT,), "top_k": 8}
    ours = partial(attention_stats, q, k, v, **asked)
    sdpa = partial(scaled_dot_product_attention, q, k, v, is_causal=True, enable_gqa=True)
    found = ours()
    difference = _apart(found, attention_stats(q, k, v, backend="naive", **asked))
    name = f"all attention statistics, one call, T = {LENGTH}, {HEADS} heads"
    compared(name, difference, 1e-3)
    medians = in_turns({"ours": ours, "peer": sdpa})
    note = f"peer: plain SDPA; ours: {found.backend}, entropy, maximum, sink, recency, distance and top 8"
    yield within(name, medians["ours"], medians["peer"], 1.5, difference=difference, note=note)
    pattern = HEADS * LENGTH * LENGTH * 4 / 1e6
    extra = peak_bytes(ours) / 1e6
    yield within(f"{name}: extra memory", extra, pattern, 0.05, unit="MB", note="peer: the fp32 pattern")


def _whole_forward(model: Model) -> Iterator[Row]:
    tokens = _text(model, WHOLE)
    mine, theirs = _ours(model, tokens), _transformer_lens(model, tokens)
    difference = float((mine - theirs).abs().max())
    medians = in_turns({"ours": lambda: _ours(model, tokens), "peer": lambda: _transformer_lens(model, tokens)}, 5)
    name = f"statistics of all layers and heads, whole forward, T = {WHOLE}"
    note = "peer: TransformerLens, cached patterns; entropy, sink mass, recent mass and mean distance"
    yield faster(name, medians["ours"], medians["peer"], 2.0, difference, 1e-3, note)
    gc.collect()
    memory = {one.__name__: peak_bytes(lambda one=one: one(model, tokens)) / 1e6 for one in (_ours, _transformer_lens)}  # type: ignore[misc]
    ours, peer = memory["_ours"], memory["_transformer_lens"]
    goal, unit = 20.0, "MB above the weights"
    yield Row(f"{name}: peak memory", ours, peer, peer / ours, f"≥ {goal:g}×", peer / ours >= goal, unit, None, note)


def _longest(model: Model) -> Iterator[Row]:
    tokens = _text(model, LONGEST)
    seconds: list[float] = []
    peak = peak_bytes(lambda: seconds.append(timed(lambda: _ours(model, tokens)))) / 2**30
    pattern = model.geometry.n_layers * model.geometry.n_heads * LONGEST**2 * 4 / 2**30
    note = f"{seconds[0]:.1f} s; TransformerLens' patterns alone would take {pattern:.0f} GiB"
    yield at_most(f"the same at T = {LONGEST}: peak memory above the weights", peak, 24.0, "GiB", note)


def _text(model: Model, length: int) -> Tensor:
    """[1 pos] ids drawn at random: what the statistics are does not matter here, only how many there are."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, model.geometry.d_vocab, (1, length), generator=generator)


def _ours(model: Model, tokens: Tensor) -> Tensor:
    """[number layer head pos]: entropy, sink mass, recent mass, and mean distance as a fraction of the text."""
    found: list[Tensor] = []

    def each(_layer: int, one: AttentionStats) -> None:
        numbers = (one.entropy, one.span_mass[..., 0], one.recency_mass[..., 0], one.distance_mean / tokens.shape[1])
        found.append(torch.stack([number[0] for number in numbers]))

    attention_statistics(model, tokens, PLAN, each)
    return torch.stack(found, dim=1)


@torch.no_grad()
def _transformer_lens(model: Model, tokens: Tensor) -> Tensor:
    """The same from the peer's cached patterns, layer by layer."""
    _, cache = model.bridge.run_with_cache(tokens, names_filter=lambda name: name.endswith("hook_pattern"))
    places = torch.arange(tokens.shape[1])
    apart = places[:, None] - places
    near, distance = (apart >= 0) & (apart < RECENT), apart / len(places)
    found = []
    for layer in range(model.geometry.n_layers):
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"][0]
        entropy = torch.special.entr(pattern).sum(-1)
        recent, far = (pattern * near).sum(-1), (pattern * distance).sum(-1)
        found.append(torch.stack([entropy, pattern[..., :SINK].sum(-1), recent, far]))
    return torch.stack(found, dim=1)


def _apart(found: AttentionStats, wanted: AttentionStats) -> float:
    """The largest difference in any statistic, relative for those that grow with the text."""
    names = ("entropy", "max_weight", "span_mass", "recency_mass", "top_weights", "log_sum_exp")
    gaps = [float((getattr(found, name) - getattr(wanted, name)).abs().max()) for name in names]
    return max(*gaps, float(((found.distance_mean - wanted.distance_mean) / LENGTH).abs().max()))
