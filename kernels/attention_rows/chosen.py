"""Only the rows asked for, recomputed from q and k; only keys that some chosen row sees are read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels.attention_rows.checked import Chosen


@torch.no_grad()
def attention_rows(
    q: Tensor,
    k: Tensor,
    *,
    queries: Sequence[int] | Tensor,
    heads: Sequence[int] | Tensor | None = None,
    scale: float | None = None,
    causal: bool = True,
    offset: int | None = None,
    window: int | None = None,
    soft_cap: float | None = None,
    alibi: Tensor | None = None,
    segments: Tensor | None = None,
    query_segments: Tensor | None = None,
) -> Tensor:
    """Chosen rows of the attention pattern, [batch chosen_head chosen_query key] in fp32; memory: the answer's.

    Args:
        q: [batch head query d_head], any strides; with `k` of one floating dtype on one device.
        k: [batch kv_head key d_head], not repeated: head h reads key head h // (heads / kv_heads).
        queries: indices of rows, 0 to query − 1, in any order, also repeated.
        heads: indices of heads; all of them when absent.
        scale: and all further arguments: as in `kernels.attention_stats.attention_stats`.

    Raises:
        ValueError: arguments that do not fit, indices out of range, NaN or infinite input, scores beyond fp32.
    """
    scoring = {
        "scale": scale, "causal": causal, "offset": offset, "window": window, "soft_cap": soft_cap, "alibi": alibi,
        "segments": segments, "query_segments": query_segments,
    }  # fmt: skip
    asked = Chosen.of(q, k, queries, heads, scoring)
    seen = slice(int(asked.rule.first[:, asked.queries].min()), int(asked.rule.last[:, asked.queries].max()))
    group = q.shape[1] // k.shape[1]
    rows = q.new_zeros(q.shape[0], len(asked.heads), len(asked.queries), k.shape[2], dtype=torch.float32)
    for place, head in enumerate(asked.heads.tolist()):
        products = q[:, head, asked.queries].float() @ k[:, head // group, seen].float().mT
        scores = asked.rule.finish(products[:, None], asked.queries, seen, asked.heads[place : place + 1])
        rows[:, place, :, seen] = scores.softmax(dim=-1)[:, 0]
    if bad := int((~rows.isfinite()).any(-1).sum()):
        raise ValueError(f"scores overflow fp32 in {bad} of the chosen rows: q·k is too large")
    return rows
