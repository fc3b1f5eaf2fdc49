"""Pictures of the attention editor: shares right by arm, margins by arm, and every head alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from analyses._common import grey_note, sample_note
from analyses._contract import Frames
from analyses._plots import bars, grid, grouped_bars, signed_heatmap
from analyses.attention_editor.computing import ANSWER, OTHERS
from analyses.attention_editor.tables import FIRST, MARGIN, RIGHT

if TYPE_CHECKING:
    from analyses.attention_editor import EditorSpec

NAMES = ("answers", "margin", "heads")


def figures(frames: Frames, spec: EditorSpec) -> dict[str, go.Figure]:
    """All pictures, by name."""
    prompts, arms, heads = frames["prompts"], frames["arms"], frames["heads"]
    note = sample_note(prompts["margin"], did="answer preferred as it is")
    known = {OTHERS: "the other candidates", ANSWER: "the answer's token"}
    where = known.get(spec.look_at, f"“{spec.look_at.strip()}”")
    how = f"Edited heads look at {where} from the last token. {note}"
    shares = arms[arms["measure"].isin((RIGHT, FIRST))]
    margin = arms[arms["measure"] == MARGIN]
    cells, grey = (grid(heads.assign(grey=~heads["discovered"].astype(bool)), x="head", y="layer", value=name)
                   for name in ("mean", "grey"))  # fmt: skip
    low, high = (grid(heads, x="head", y="layer", value=name) for name in ("low", "high"))
    return {
        "answers": grouped_bars(
            shares, x="arm", group="measure", value="mean", low="low", high="high",
            title="Right answers with attention set by hand", x_title="what is edited", y_title="share of prompts",
            legend=f"{how}. Bars: 95% intervals over prompts",
        ),
        "margin": bars(
            margin, label="arm", value="mean", low="low", high="high", title="Margin of the answer", unit="logits",
            legend=f"The answer's logit less the best other candidate's. {how}",
        ),
        "heads": signed_heatmap(
            cells.to_numpy(), [str(one) for one in cells.columns], [str(one) for one in cells.index],
            hidden=grey.to_numpy(dtype=bool), hidden_note=grey_note(int(heads["prompts"].max())), low=low.to_numpy(),
            high=high.to_numpy(), title="One head at a time", x_title="head", y_title="layer", unit="logits",
            legend=f"Blue: the answer gains on the other candidates when this head alone is edited. {note}",
        ),
    }  # fmt: skip
