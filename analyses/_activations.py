"""What the analyses of plain activations share: the texts, their split, and every token's vector at a site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from analyses._common import beginning
from analyses._contract import Inputs
from analyses.attention_sinks.finding import Text
from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

__all__ = ["Kind", "Text", "activations", "halves_of", "read_texts"]

Kind = Literal["resid_post", "resid_pre", "resid_mid", "attn_out", "mlp_out", "mlp_post"]
"""Sites whose vectors these analyses look at: the streams, what is added to them, and the neurons."""


def read_texts(model: Model, inputs: Inputs, least: int, why: str) -> list[Text]:
    """Every different text with its tokens. Raises InputError for one of fewer than `least`, with the reason `why`."""
    found: list[Text] = []
    seen: set[tuple[int, ...]] = set()
    for number, text in enumerate(inputs.texts):
        ids, begins = model.tokens(text), beginning(" ".join(text.split()))
        if ids.shape[1] < least:
            raise InputError(f"text {number}, {begins!r}, has {ids.shape[1]} tokens: {why}, so it needs {least}")
        if (told := tuple(ids[0].tolist())) not in seen:
            found.append(Text(number, ids, begins, inputs.labels[number] if inputs.labels else ""))
        seen.add(told)
    return found


def halves_of(texts: Sequence[Text], groups: Sequence[str] = ()) -> tuple[list[Text], list[Text]]:
    """Texts to fit on, and texts held out: in turn within each label, so that both halves have every kind.

    `groups` are those of the inputs, by number of a text, or none: texts of one group stay together.

    Raises InputError for fewer than two groups.
    """
    together: dict[str, list[Text]] = {}
    for text in texts:
        group = groups[text.number] if groups else ""
        together.setdefault(group or f"text {text.number}", []).append(text)
    units = list(together.values())
    if len(units) < 2:
        what = "text" if len(units) == len(texts) else "group of texts"
        raise InputError(f"{len(units)} {what} is too few: one to fit on and one held out are needed; give more texts")
    seen: Counter[str] = Counter()
    halves: tuple[list[list[Text]], list[list[Text]]] = ([], [])
    for unit in units:
        label = unit[0].label
        halves[seen[label] % 2].append(unit)
        seen[label] += 1
    # Labels of one group each would leave nothing to test on.
    fitted, held_out = halves if halves[1] else (units[::2], units[1::2])
    return [text for unit in fitted for text in unit], [text for unit in held_out for text in unit]


def activations(model: Model, ids: Tensor, sites: Sequence[Site]) -> dict[Site, Tensor]:
    """By site, [pos d] in fp32 on the CPU, of a text `ids` [1 pos]. Raises InputError for values not finite."""
    cache = run_with_cache(model, ids, sites, last_only=True)
    found = {site: cache[site][0].float().cpu() for site in sites}
    for site, values in found.items():
        if not bool(values.isfinite().all()):
            raise InputError(f"{site.label} is not all finite numbers; a dtype with more range (float32) may help")
    return found
