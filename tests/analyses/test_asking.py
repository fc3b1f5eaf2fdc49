"""Labels that a model is asked for: what it is shown, what is made of its answers, and that they are tested."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from analyses._dictionaries.asking import EXCERPTS, AskedLabeller, asked_of, question
from analyses._dictionaries.detection import detection, windows_of
from analyses._dictionaries.firing import Firing, firing
from hooks.dictionaries import Dictionary
from hooks.model import Model

COLOURS = ("red", "blue", "green", "yellow", "black", "white")
OTHERS = ("table", "old", "walked", "river", "seven", "broken")
IDENTITY = Dictionary(
    "standard", W_enc=torch.ones(1, 1), W_dec=torch.ones(1, 1), b_dec=torch.zeros(1), b_enc=torch.zeros(1)
)
TEXTS = ("the roofs were {} on that day", "then my {} car was old", "and her {} dress was new",
         "now the {} door was shut", "there a {} bird sang", "so his {} hat fell down")  # fmt: skip


def fires_on(model: Model, words: tuple[str, ...], texts: list[str]) -> tuple[Firing, Tensor, Tensor, np.ndarray]:
    """A dictionary whose latent 0 is active on these words alone, with the rows it was read over."""
    ids = [model.encode(text) for text in texts]
    token = torch.tensor([one for text in ids for one in text])
    text = torch.tensor([number for number, text in enumerate(ids) for _ in text])
    wanted = torch.tensor([model.single_token(f" {word}") for word in words])
    x = torch.isin(token, wanted).float()[:, None]
    return firing(IDENTITY, x, lambda *_: None), token, text, windows_of(text, token, 10)


def labelled(model: Model, tick: Callable[[], None] = lambda: None) -> tuple[AskedLabeller, Firing, Tensor, np.ndarray]:
    texts = [
        text.format(word) for words in (COLOURS, OTHERS) for text, word in zip(TEXTS, words, strict=True) for _ in "ab"
    ]
    fires, _, text, windows = fires_on(model, COLOURS, texts)
    taught = text % 2 == 0
    every = model.str_tokens(range(model.geometry.d_vocab))
    return AskedLabeller(model, fires, windows, taught, every, tick), fires, taught, windows


def test_a_label_is_asked_for_once_tested_on_other_texts_and_is_the_models_own_words(real: Model) -> None:
    """Whether its words are any good is not for a test: the score tells."""
    asked = list[int]()
    labeller, fires, taught, windows = labelled(real, lambda: asked.append(1))
    shown = labeller.excerpts(0)
    assert len(shown) == EXCERPTS
    assert all(any(f"<<{colour}>>" in one for colour in COLOURS) for one in shown)
    assert labeller.label(0) == labeller.label(0) != ""
    assert len(asked) == 1
    assert labeller.label(0) == greedily(real, question(shown))
    found = detection(labeller, fires, windows, ~taught, 0, seed=0)
    assert found.tested == len(COLOURS)
    assert 0 <= found.low <= found.auroc <= found.high <= 1
    row = int(np.flatnonzero(~taught.numpy())[3])
    yes, no = (real.single_token(word) for word in (" Yes", " No"))
    asked_again = asked_of(labeller.label(0), "the roofs were <<red>>")
    logits = real.logits(real.tokens(asked_again), last_only=True).flatten()
    assert real.str_tokens(windows[row][windows[row] >= 0].tolist())[-1] == " red"
    assert labeller.fits(0, windows[[row]]).tolist() == pytest.approx([float(logits[yes] - logits[no])], abs=1e-3)


def greedily(model: Model, prompt: str) -> str:
    """The first line of the likeliest continuation, without its full stop."""
    ids = model.encode(prompt)
    while "\n" not in model.str_tokens(ids)[-1] or len(ids) == len(model.encode(prompt)):
        ids.append(int(model.logits(torch.tensor([ids]), last_only=True).argmax()))
    return "".join(model.str_tokens(ids[len(model.encode(prompt)) :])).strip().rstrip(".")


def test_a_latent_that_is_never_active_gets_no_label_and_no_question(real: Model) -> None:
    asked = list[int]()
    texts = [text.format(word) for text, word in zip(TEXTS, OTHERS, strict=True)]
    fires, _, text, windows = fires_on(real, COLOURS, texts)
    every = real.str_tokens(range(real.geometry.d_vocab))
    labeller = AskedLabeller(real, fires, windows, text >= 0, every, lambda: asked.append(1))
    assert (labeller.label(0), asked) == ("", [])
    assert np.isnan(detection(labeller, fires, windows, text >= 0, 0, seed=0).auroc)


def test_the_questions_end_where_the_model_goes_on() -> None:
    assert question(["a <<b>>", "c <<d>>"]).endswith(
        "Excerpts: a <<b>>; c <<d>>\nMarked words: b, d\nThe marked words are"
    )
    assert asked_of("names", "in <<May>>").endswith('Excerpt: in <<May>>\nIs "May" one of the names?')
