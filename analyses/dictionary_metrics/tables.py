"""Tables of a dictionary's measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analyses._contract import Column

LAYER = Column("layer", "", "layer read, from 0; of a cross-layer set the layer written, −1 all of them together")


def _interval(name: str, unit: str, words: str) -> tuple[Column, ...]:
    return (
        Column(name, unit, words),
        Column(f"{name}_low", unit, "lower end of its 95% interval over documents; missing for one document"),
        Column(f"{name}_high", unit, "upper end"),
    )


COLUMNS: dict[str, tuple[Column, ...]] = {
    "about": (
        Column("dictionary", "", "which dictionary"),
        Column("text", "", "what it is measured on"),
        Column("ablation", "", "what stands for a useless dictionary: zero, or the mean over the measured tokens"),
    ),
    "summary": (
        LAYER,
        Column("reads", "", "site that is encoded; of a cross-layer set which layers' latents write here"),
        Column("writes", "", "site that is reconstructed"),
        Column("latents", "count", "size of the dictionary"),
        Column("tokens", "count", "tokens measured; the first of each text is left out"),
        Column("active", "latents", "active latents a token (L0); of a cross-layer set those that read the layer"),
        Column("explained", "share", "1 − Σ‖y − ŷ‖²/Σ‖y − ȳ‖², both sums over all tokens"),
        Column("cosine", "", "mean cosine of activation and reconstruction"),
        Column("norm_ratio", "ratio", "mean ‖ŷ‖/‖y‖"),
        Column("bias", "ratio", "E‖ŷ‖²/E[y·ŷ]; below 1 where reconstructions are shrunk"),
        Column("dead", "share", "latents that are active on no measured token"),
        Column("over_1", "share", "latents that are active on more than 1% of the tokens"),
        Column("over_10", "share", "latents that are active on more than 10% of the tokens"),
        Column("neighbour", "cosine", "median over latents of the largest cosine with another latent's direction"),
        Column("random_neighbour", "cosine", "the same for as many random directions"),
        *_interval("ce_recovered", "share", "(CE ablated − CE with it)/(CE ablated − CE unchanged)"),
        *_interval("kl_recovered", "share", "(KL ablated − KL with it)/KL ablated"),
    ),
    "losses": (
        LAYER,
        Column("arm", "", "what stands at the written site: unchanged, dictionary, ablated, or a prefix of it"),
        *_interval("ce", "nats", "cross-entropy a predicted token"),
        *_interval("added", "nats", "ce less that of the unchanged model, text by text"),
        *_interval("kl", "nats", "KL(unchanged ‖ arm) a predicted token"),
        Column("texts", "count", "documents that the losses are over, whole or in part; their pieces are summed"),
        Column("predicted", "count", "predicted tokens; the first prediction of a text or piece is left out"),
    ),
    "densities": (
        LAYER,
        Column("latent", "", "latent, from 0"),
        Column("density", "share", "tokens on which it is active"),
        Column("nearest", "", "the latent whose direction is nearest"),
        Column("cosine", "", "cosine of the two directions"),
        Column("random", "", "largest cosine of a random direction with another of as many"),
    ),
    "prefixes": (
        LAYER,
        Column("latents", "count", "the dictionary's first so many latents alone"),
        Column("nested", "", "it was trained to be a dictionary of its own"),
        Column("explained", "share", "as in summary"),
        Column("active", "latents", "active latents a token"),
        *_interval("ce_recovered", "share", "as in summary; missing where losses of prefixes were not asked for"),
    ),
    "letters": (
        LAYER,
        Column("letter", "", "first letter"),
        Column("taught", "count", "words of it that probes are fitted on"),
        Column("tested", "count", "words of it that they are tested on"),
        Column("f1", "", "of a linear probe on the activation, test words; missing for too few words"),
        Column("measured", "", "whether F1 is high enough for absorption to be measured"),
        Column("mains", "count", "latents that stand for the letter"),
        Column("mains_f1", "", "F1 of a probe on these alone, words fitted on"),
        Column("words", "count", "test words that the probe gets right"),
        *(
            Column(one.name, one.unit, one.description.replace("document", "word"))
            for name, words in (
                ("full", "words on which all mains are silent and one other latent carries the letter"),
                ("absorbed", "mean share of the letter's projection that other latents carry in place of the mains"),
            )
            for one in _interval(name, "share", words)
        ),
    ),
}
WHOLE = ("layer", "latents", "tokens", "texts", "predicted", "latent", "nearest", "taught", "tested", "words", "mains")


def table(name: str, rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Rows with exactly the declared columns: whole numbers whole, other numbers floats."""
    frame = pd.DataFrame(rows, columns=[column.name for column in COLUMNS[name]])
    words = ("reads", "writes", "arm", "letter", "dictionary", "text", "ablation")
    kinds = {
        one: "int64" if one in WHOLE else "bool" if one in ("nested", "measured") else "float64"
        for one in frame.columns
        if one not in words
    }
    return frame.astype(kinds)
