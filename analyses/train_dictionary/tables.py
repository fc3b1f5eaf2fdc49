"""Tables of a training: its curve, what the dictionary is worth on held-out text, and its latents' densities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analyses._contract import Column

LAYER = Column("layer", "", "layer read, from 0")
COLUMNS = {
    "curve": (
        LAYER,
        Column("step", "steps", "training steps done"),
        Column("reconstruction", "squared norm", "squared error a token of the step's batch, of scaled activations"),
        Column("sparsity", "", "the penalty on activity, where the architecture has one"),
        Column("auxiliary", "", "AuxK's part of the loss"),
        Column("explained", "share", "variance explained, held-out tokens (4,096 at most)"),
        Column("active", "latents", "active latents a token (L0), held-out"),
        Column("dead", "share", "latents that did not fire in the last 20 batches"),
    ),
    "summary": (
        LAYER,
        Column("reads", "", "site that is encoded"),
        Column("writes", "", "site that is reconstructed"),
        Column("latents", "", "size of the dictionary"),
        Column("trained", "tokens", "tokens trained on; the first of each text is left out"),
        Column("held", "tokens", "tokens of other texts, measured on"),
        Column("left_out", "tokens", "tokens whose norm is beyond the limit, neither trained nor measured on"),
        Column("passes", "", "how often each training token was seen"),
        Column("explained", "share", "1 − Σ‖y − ŷ‖²/Σ‖y − ȳ‖² over the held-out tokens"),
        Column(
            "components",
            "share",
            "the same by as many principal components as active latents were asked for; missing for transcoders",
        ),
        Column("active", "latents", "active latents a token (L0), held-out"),
        Column("dead", "share", "latents that are never active on the held-out tokens"),
        Column("cosine", "", "mean cosine of activation and reconstruction"),
        Column("norm_ratio", "ratio", "mean ‖ŷ‖/‖y‖"),
        Column("bias", "ratio", "E‖ŷ‖²/E[y·ŷ]; below 1 where reconstructions are shrunk"),
    ),
    "densities": (
        LAYER,
        Column("latent", "", "latent, from 0"),
        Column("density", "share", "held-out tokens on which it is active"),
    ),
}


def table(name: str, rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Rows with exactly the declared columns, whole numbers whole."""
    frame = pd.DataFrame(rows, columns=[column.name for column in COLUMNS[name]])
    whole = [one for one in ("layer", "step", "latents", "trained", "held", "left_out", "latent") if one in frame]
    return frame.astype(dict.fromkeys(whole, "int64"))
