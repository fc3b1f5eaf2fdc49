"""Tables of the feature browser: one row a latent, and what its card shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analyses._contract import Column

LATENT = Column("latent", "", "latent, from 0")
RANK = Column("rank", "", "place, 0 first")
COLUMNS: dict[str, tuple[Column, ...]] = {
    "about": (
        Column("dictionary", "", "which dictionary"),
        Column("revision", "", "of its artifact; empty for one made on the spot"),
        Column("layer", "", "layer read"),
        Column("reads", "", "site that is encoded"),
        Column("writes", "", "site that is reconstructed"),
        Column("text", "", "what it is read over"),
        Column("tokens", "count", "tokens read; the first of each text is left out"),
        Column("own", "", "what `own` shows: the prompt, or the beginning of a text"),
    ),
    "latents": (
        LATENT,
        Column("density", "share", "tokens on which it is active"),
        Column("norm", "norm", "length of what one unit of it writes"),
        Column("largest", "activation", "its largest activation"),
        Column("mean", "activation", "its mean activation where it is active"),
        Column("top_token", "", "token with the largest share of its activation"),
        Column("top_share", "share", "that share"),
        Column("promoted", "", "token whose logit one unit raises most, through the final norm"),
        Column("promoted_logit", "logits", "by how much, norm's scale 1, less the vocabulary's mean"),
        Column("suppressed", "", "token whose logit it lowers most"),
        Column("suppressed_logit", "logits", "by how much"),
        Column("written", "", "label that a person wrote; empty for none"),
        Column("automatic", "", "automatic label, made on one half of the texts"),
        Column("auroc", "AUROC", "of telling its contexts by the automatic label, other half; missing for too few"),
        Column("auroc_low", "AUROC", "lower end of its 95% interval over contexts"),
        Column("auroc_high", "AUROC", "upper end"),
        Column("tested", "count", "contexts of each kind, active and not, behind it"),
    ),
    "asked": (
        LATENT,
        Column("label", "", "label that the asked model gave, of one half of the texts"),
        Column("auroc", "AUROC", "of telling its contexts by this label, as that model judges, other half"),
        Column("low", "AUROC", "lower end of its 95% interval over contexts"),
        Column("high", "AUROC", "upper end"),
        Column("tested", "count", "contexts of each kind, active and not, behind it"),
        Column("tokens", "", "the automatic label, of tokens"),
        Column("tokens_auroc", "AUROC", "of that one"),
        Column("tokens_low", "AUROC", "lower end"),
        Column("tokens_high", "AUROC", "upper end"),
    ),
    "contexts": (
        LATENT,
        Column("band", "", "highest, or which quarter of its activations"),
        RANK,
        Column("activation", "activation", "at the position"),
        Column("text", "", "which text"),
        Column("position", "", "which of its tokens"),
        Column("first", "", "position of the first token shown"),
        Column("tokens", "", "the tokens around it, a JSON list"),
        Column("activations", "activation", "the latent's activations on them, a JSON list"),
    ),
    "effects": (
        LATENT,
        Column("direction", "", "promoted or suppressed"),
        RANK,
        Column("token", "", "token"),
        Column("token_id", "", "its id"),
        Column("logit", "logits", "what one unit adds, norm's scale 1, less the vocabulary's mean"),
    ),
    "logits": (
        LATENT,
        Column("low", "logits", "lower edge of the bin"),
        Column("high", "logits", "upper edge"),
        Column("count", "count", "tokens of the vocabulary on which one unit's effect, as in effects, lies in it"),
    ),
    "activations": (
        LATENT,
        Column("low", "activation", "lower edge of the bin"),
        Column("high", "activation", "upper edge"),
        Column("count", "count", "tokens on which the latent's activation lies in it"),
    ),
    "neighbours": (
        LATENT,
        Column("kind", "", "direction: by cosine of what they write; together: by correlation of being active"),
        RANK,
        Column("other", "", "the other latent"),
        Column("value", "", "cosine, or φ; missing where undefined"),
    ),
    "own": (
        Column("position", "", "token position, from 0"),
        LATENT,
        Column("activation", "activation", "of the latents that are active there"),
    ),
    "own_tokens": (
        Column("position", "", "token position, from 0"),
        Column("token", "", "the text's token"),
        Column("token_id", "", "its id"),
    ),
}
TEXT = ("dictionary", "revision", "reads", "writes", "own", "top_token", "promoted", "suppressed", "written",
        "automatic", "label", "band", "tokens", "activations", "direction", "token", "kind")  # fmt: skip
WHOLE = ("layer", "latent", "rank", "position", "first", "token_id", "count", "other", "tested")


def table(name: str, rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Rows with exactly the declared columns: whole numbers whole, words words, other numbers floats."""
    frame = pd.DataFrame(rows, columns=[column.name for column in COLUMNS[name]])
    words = {*TEXT, "text"} if name == "about" else set(TEXT)
    whole = {*WHOLE, "text"} if name == "contexts" else {*WHOLE, "tokens"} if name == "about" else set(WHOLE)
    kinds = {one: "int64" if one in whole else "object" if one in words else "float64" for one in frame.columns}
    return frame.astype(kinds)
