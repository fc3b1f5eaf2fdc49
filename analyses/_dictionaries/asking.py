"""Labels that a language model gives: it reads marked excerpts and says what they share, then is tested on others.

Sources: Bills et al. 2023 (a model explains, another guess is scored); Paulo et al. 2024 (detection). The wording is
ours: three lines of examples before the question, so that a model without any tuning for conversation can answer too.
A small model answers badly; the score of `detection`, on texts that it was not shown, says how badly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from analyses._plots import glyphs
from hooks.continuation import continued, end_of_text
from hooks.errors import InputError
from hooks.sweep_jobs import Cell

if TYPE_CHECKING:
    from analyses._dictionaries.firing import Firing
    from hooks.model import Model

Ids = npt.NDArray[np.int64]
EXCERPTS = 6
"""Excerpts that a label is made of, at most: the highest activation of each token first."""
WORDS = 16
"""Tokens that an answer takes at most."""
_LEARNED = (
    (("we met in <<March>>", "it opens in <<June>>", "until late <<October>>"), "months"),
    (("she is <<taller>>", "a <<colder>> day", "the <<older>> house"), "adjectives"),
    (("open the file<<(>>", "print<<(>>", "call it <<(>>"), "opening brackets"),
    (("our <<dog>> barks", "a <<horse>> ran", "two <<cats>>"), "animals"),
)
_TESTED = (
    ("months", "the wedding is in <<May>>", "Yes"),
    ("colours", "the wedding is in <<May>>", "No"),
    ("animals", "she fed the <<horse>>", "Yes"),
    ("verbs", "she fed the <<horse>>", "No"),
)


class AskedLabeller:
    """A `Labeller` that asks a model; labels are made once, of the rows that are `taught`."""

    name = "asked"

    def __init__(
        self, asked: Model, firing: Firing, windows: Ids, taught: Tensor, texts: Sequence[str],
        tick: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`windows` [row token] as `detection.windows_of` gives them, `taught` [row] bool, `texts` the vocabulary's.

        `tick` is called before every question; it may raise to stop.

        Raises:
            InputError: a model for which " Yes" or " No" is more than one token.
        """
        self.model, self.firing, self.windows, self.texts, self.tick = asked, firing, windows, texts, tick
        self.taught = taught.numpy()
        self.stop = end_of_text(asked)
        self.sides = [asked.single_token(word) for word in (" Yes", " No")]
        self.labels: dict[int, str] = {}

    def label(self, latent: int) -> str:
        if latent not in self.labels:
            excerpts = self.excerpts(latent)
            self.labels[latent] = self._said(question(excerpts)) if excerpts else ""
        return self.labels[latent]

    def excerpts(self, latent: int) -> list[str]:
        """Marked excerpts of its highest activations."""
        rows, values = self.firing.of(latent)
        mine = self.taught[rows]
        found: dict[tuple[int, ...], str] = {}
        for row in rows[mine][np.argsort(-values[mine], kind="stable")].tolist():
            found.setdefault(tuple(self.windows[row, -1:].tolist()), self._marked(self.windows[row]))
            if len(found) == EXCERPTS:
                break
        return list(found.values())

    def fits(self, latent: int, contexts: Ids) -> npt.NDArray[np.float64]:
        label = self.label(latent)
        return np.array([self._agrees(asked_of(label, self._marked(one))) for one in contexts])

    def _marked(self, window: Ids) -> str:
        tokens = [self.texts[one] for one in window.tolist() if one >= 0]
        before, last = "".join(tokens[:-1]), tokens[-1]
        gap = " " if last.startswith(" ") else ""
        return " ".join(f"{before}{gap}<<{last.strip() or glyphs(last)}>>".split())

    @torch.no_grad()
    def _said(self, prompt: str) -> str:
        self.tick()
        found = continued(self.model, self._ids(prompt), [Cell({}, ())], [], WORDS, stop=self.stop).tokens[0].tolist()
        words = "".join(self.model.str_tokens([one for one in found if one >= 0 and one not in self.stop]))
        return " ".join(words.split("\n")[0].split()).strip(" .")

    @torch.no_grad()
    def _agrees(self, prompt: str) -> float:
        """Log-odds of yes against no."""
        self.tick()
        logits = self.model.logits(self._ids(prompt), last_only=True).flatten()
        return float(logits[self.sides[0]] - logits[self.sides[1]])

    def _ids(self, prompt: str) -> Tensor:
        ids = self.model.encode(prompt)
        if len(ids) + WORDS > self.model.geometry.n_ctx:
            raise InputError(
                f"{self.model.identity.name} reads {self.model.geometry.n_ctx} tokens: too few to be asked for labels, "
                f"which takes {len(ids) + WORDS}; name another model (--asks)"
            )
        return torch.tensor([ids])


def question(excerpts: Sequence[str]) -> str:
    """What the marked words of these excerpts are: the answer is what follows."""
    told = [*_LEARNED, (tuple(excerpts), "")]
    return "\n\n".join(
        f"Excerpts: {'; '.join(shown)}\nMarked words: {', '.join(map(marked, shown))}\n"
        f"The marked words are {answer}".rstrip()
        for shown, answer in told
    )


def asked_of(label: str, excerpt: str) -> str:
    """Whether the marked word of an excerpt is what a label says: the answer is what follows."""
    told = [*_TESTED, (label, excerpt, "")]
    return "\n\n".join(
        f'Excerpt: {one}\nIs "{marked(one)}" one of the {of}? {answer}'.rstrip() for of, one, answer in told
    )


def marked(excerpt: str) -> str:
    """The marked word of an excerpt."""
    return excerpt.rpartition("<<")[2].removesuffix(">>")
