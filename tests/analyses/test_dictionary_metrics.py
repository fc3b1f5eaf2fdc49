"""Measures of a dictionary: what keeps everything scores 1, what keeps nothing 0, and planted absorption is seen.

More than 200 lines: the dictionaries made by hand and the planted text serve every test here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from analyses._contract import Context, Frames, Inputs
from analyses._dictionaries.at_hand import at_hand
from analyses._dictionaries.corpus import corpus_of_texts
from analyses._dictionaries.harvest import harvest
from analyses._dictionaries.kept import contents
from analyses._dictionaries.training import Schedule, Training
from analyses._stats import ratio_interval
from analyses.dictionary_metrics import ANALYSIS, MetricsSpec
from analyses.dictionary_metrics.letters import absorption, first_letters, main_latents
from analyses.dictionary_metrics.similarity import nearest_directions, random_neighbours
from analyses.dictionary_metrics.words import LETTERS, Words
from data.artifacts import Artifact
from hooks.dictionaries import Dictionary, Placed, channels
from hooks.errors import InputError
from hooks.interventions import Patch
from hooks.model import Model
from hooks.sites import Site
from kernels.dictionary_step import Rule

TEXTS = Inputs(texts=("a b c d e f g h", "the red book is on the table", "x y z x y z x", "one two three four five"))


def identity(width: int, **more: Any) -> Dictionary:
    """Latents ±x of every channel: what it makes of any input is that input."""
    eye = torch.eye(width)
    both = torch.cat([eye, -eye])
    return Dictionary("standard", both.T.contiguous(), both, torch.zeros(width), b_enc=torch.zeros(2 * width), **more)


def nothing(width: int, out: Tensor) -> Dictionary:
    """Never active: what it makes is `out` alone."""
    return Dictionary("standard", torch.zeros(width, 4), torch.zeros(4, len(out)), out, b_enc=torch.full((4,), -1.0),
                      centred=False)  # fmt: skip


def kept(model: Model, *placed: Placed, **about: Any) -> Artifact:
    tensors, meta = contents(placed, about)
    return Artifact("mine", "dictionary", meta, tensors, "r1")


def placed_at(model: Model, dictionary: Dictionary, reads: Site, writes: Site | None = None) -> Placed:
    return Placed(dictionary, reads, writes or reads, model.identity.as_dict())


def measured(model: Model, placed: Placed, inputs: Inputs = TEXTS, **spec: Any) -> Frames:
    given = MetricsSpec(**{"dictionary": "mine", "words": 0, **spec})
    context = Context(use={"dictionary": kept(model, placed)}.__getitem__)
    return ANALYSIS.conform(ANALYSIS.run(model, inputs, given, context))


def test_an_identity_keeps_everything_in_every_family(any_tiny: Model) -> None:
    site = Site(1, "resid_post")
    row = measured(any_tiny, placed_at(any_tiny, identity(any_tiny.geometry.d_model), site))["summary"].iloc[0]
    for name in ("explained", "cosine", "norm_ratio", "bias", "ce_recovered", "kl_recovered"):
        assert row[name] == pytest.approx(1, abs=1e-4), name


def test_nothing_under_zero_ablation_recovers_nothing(any_tiny: Model) -> None:
    width, site = any_tiny.geometry.d_model, Site(0, "resid_post")
    frames = measured(any_tiny, placed_at(any_tiny, nothing(width, torch.zeros(width)), site))
    row = frames["summary"].iloc[0]
    assert row["ce_recovered"] == pytest.approx(0, abs=1e-6)
    assert row["kl_recovered"] == pytest.approx(0, abs=1e-6)
    assert row["dead"] == 1
    assert row["active"] == 0
    losses = frames["losses"].set_index("arm")
    assert losses["kl"]["unchanged"] == 0 < losses["kl"]["ablated"]


def test_the_mean_alone_explains_nothing_and_recovers_nothing_under_mean_ablation(tiny: Model) -> None:
    width, site = tiny.geometry.d_model, Site(1, "resid_post")
    corpus = corpus_of_texts(tiny, TEXTS.texts, 128)
    mean = harvest(tiny, corpus, [site], lambda *_: None).values[site].mean(dim=0)
    row = measured(tiny, placed_at(tiny, nothing(width, mean), site), ablation="mean")["summary"].iloc[0]
    assert row["explained"] == pytest.approx(0, abs=1e-6)
    assert row["ce_recovered"] == pytest.approx(0, abs=1e-5)


def test_a_transcoder_is_put_at_the_site_that_it_writes(tiny: Model) -> None:
    """One that makes nothing is zero ablation of the MLP's output, done by hand here."""
    reads, writes = Site(1, "ln2_normalized"), Site(1, "mlp_out")
    width = channels(reads, tiny)
    frames = measured(tiny, placed_at(tiny, nothing(width, torch.zeros(channels(writes, tiny))), reads, writes))
    ids = [tiny.encode(text) for text in TEXTS.texts]
    total, count = 0.0, 0
    for one in ids:
        zeros = torch.zeros(1, len(one) - 1, channels(writes, tiny))
        edit = Patch(Site(1, "mlp_out", position=tuple(range(1, len(one)))), zeros)
        log_probs = tiny.logits(torch.tensor([one]), [edit]).log_softmax(dim=-1)[0, 1:-1]
        total -= float(log_probs.gather(1, torch.tensor(one[2:])[:, None]).sum())
        count += len(one) - 2
    losses = frames["losses"].set_index("arm")
    assert losses["ce"]["dictionary"] == pytest.approx(total / count, abs=1e-4)
    assert losses["predicted"]["dictionary"] == count
    assert frames["summary"]["writes"].iloc[0] == writes.name


def test_prefixes_and_heads(tiny: Model) -> None:
    """All of an identity's prefixes but the whole lose something; heads are laid side by side."""
    site = Site(1, "z")
    width = channels(site, tiny)
    frames = measured(tiny, placed_at(tiny, identity(width, prefixes=(width, 2 * width)), site), prefix_losses=True)
    rows = frames["prefixes"].set_index("latents")
    assert list(rows["nested"]) == [True, True]
    assert rows["explained"][2 * width] == pytest.approx(1, abs=1e-5) != rows["explained"][width]
    assert rows["ce_recovered"][2 * width] == pytest.approx(1, abs=1e-4)
    assert "prefix " + str(width) in set(frames["losses"]["arm"])


def test_neighbours_of_directions_and_of_random_ones() -> None:
    directions = torch.tensor([[1.0, 0, 0], [2.0, 0.1, 0], [0, 0, 3.0]])
    nearest, cosine = nearest_directions(directions)
    assert nearest.tolist()[:2] == [1, 0]
    assert cosine[0] == pytest.approx(2 / np.hypot(2, 0.1))
    assert float(nearest_directions(torch.ones(1, 3))[1].isnan().all())
    assert 0.1 < float(random_neighbours(300, 200, 0).median()) < 0.3


def test_absorption_by_hand() -> None:
    """Latent 0 stands for the letter, 1 for a word of it. Four words: told by 0, by 1, half by each, by neither."""
    codes = torch.tensor([[2.0, 0, 0], [0, 2.0, 0], [1.0, 1.0, 0], [0, 0, 2.0]])
    along, cosine = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0, 0.7, 0.0])
    full, fraction = absorption(torch.full((4,), 2.0), codes, along, cosine, [0])
    assert full.tolist() == [False, True, False, False]
    assert fraction.tolist() == pytest.approx([0.0, 1.0, 0.5, 0.0])
    _, low = absorption(torch.full((4,), 2.0), codes, along, torch.tensor([1.0, 0.05, 0.0]), [0])
    assert low.tolist() == [0.0] * 4, "a latent that hardly points along the probe absorbs nothing"


def spelled(words: int = 3000, width: int = 64, children: int = 24) -> tuple[Words, Tensor, Tensor]:
    """Words as sums of directions: of three letters, of `children` words of "a", and of one of 20 meanings each.

    Returns the words, the directions (letters, children, meanings) and which words have a child.
    """
    draw = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(width, width, generator=draw)).Q
    letter = torch.randint(0, 3, (words,), generator=draw)
    child = torch.randint(0, 2 * children, (words,), generator=draw)
    x = 0.02 * torch.randn(words, width, generator=draw) + 2.0 * directions[letter]
    special = (letter == 0) & (child < children)
    x[special] += 2.0 * directions[3 + child[special]]
    x += 1.5 * directions[3 + children + torch.randint(0, 20, (words,), generator=draw)]
    taught = torch.rand(words, generator=draw) < 0.7
    return Words(["abc"] * words, letter, x, x, taught), directions, special


def of_directions(rows: list[Tensor], encoder: list[Tensor]) -> Dictionary:
    written = torch.stack(rows)
    return Dictionary("standard", torch.stack(encoder).T.contiguous(), written, torch.zeros(written.shape[1]),
                      b_enc=torch.full((len(rows),), -0.2))  # fmt: skip


def test_a_dictionary_that_absorbs_is_told_from_one_that_does_not() -> None:
    """The absorbing one has latents for words of "a" that write the letter too, and its letter is silent on them."""
    words, d, special = spelled()
    letters, children = [d[0], d[1], d[2]], [d[3 + one] for one in range(24)]
    honest = of_directions([*letters, *children], [*letters, *children])
    joined = [(d[0] + one) / 2**0.5 for one in children]
    silenced = [d[0] - 2 * torch.stack(children).sum(dim=0), d[1], d[2]]
    absorbing = of_directions([*letters, *joined], [*silenced, *(one * 2**0.5 for one in children)])
    found = {name: first_letters(one, words, 0.6, lambda *_: None)[LETTERS.index("a")]
             for name, one in (("honest", honest), ("absorbing", absorbing))}  # fmt: skip
    assert found["honest"].f1 > 0.95 < found["absorbing"].f1
    assert found["honest"].mains[0] == 0 == found["absorbing"].mains[0]
    assert found["honest"].fraction.mean() == 0 == found["honest"].full.mean()
    share = float(special[(words.letter == 0) & ~words.taught].float().mean())
    assert found["absorbing"].full.mean() == pytest.approx(share, abs=0.1)
    assert found["absorbing"].fraction.mean() == pytest.approx(share, abs=0.1)


def test_letters_without_words_or_probe_are_not_measured() -> None:
    words, d, _ = spelled()
    one = of_directions([d[0], d[1]], [d[0], d[1]])
    found = first_letters(one, words, 0.6, lambda *_: None)
    assert np.isnan(found[LETTERS.index("z")].f1)
    assert len(found[LETTERS.index("z")].fraction) == 0
    noise = torch.randn(len(words.text), 64, generator=torch.Generator().manual_seed(3))
    blind = first_letters(one, replace(words, read=noise, written=noise), 0.6, lambda *_: None)
    assert blind[0].f1 < 0.6
    assert blind[0].mains == ()


def test_main_latents_grow_while_they_help() -> None:
    truth = torch.tensor([True] * 40 + [False] * 160)
    codes = torch.zeros(200, 4)
    codes[:20, 2] = 1.0
    codes[20:40, 0] = 1.0
    codes[::2, 1] = 0.5
    mains, f1 = main_latents(codes, truth)
    assert set(mains) == {0, 2}
    assert f1 == 1


@pytest.mark.parametrize("given", ["other model", "layer", "short", "text"])
def test_bad_input(tiny: Model, given: str) -> None:
    width, site = tiny.geometry.d_model, Site(1, "resid_post")
    right = placed_at(tiny, identity(width), site)
    if given == "other model":
        other = Placed(identity(width), site, site, tiny.identity.as_dict() | {"name": "elsewhere"})
        with pytest.raises(InputError, match="elsewhere"):
            measured(tiny, other)
    if given == "layer":
        with pytest.raises(InputError, match="has layers 1"):
            measured(tiny, right, layers=(2,))
    if given == "short":
        with pytest.raises(InputError, match="three tokens"):
            measured(tiny, right, Inputs(texts=("a b", "c d")))
    if given == "text":
        kept_text = Artifact("t", "text", {"vocabulary": 7, "source": "x"}, {}, "r")
        context = Context(use={"dictionary": kept(tiny, right), "text": kept_text}.__getitem__)
        with pytest.raises(InputError, match="vocabulary of 7"):
            ANALYSIS.run(tiny, TEXTS, MetricsSpec(dictionary="mine", text="t"), context)


def test_texts_that_were_trained_on_are_left_out(tiny: Model) -> None:
    text = Artifact("t", "text", {"vocabulary": tiny.geometry.d_vocab, "source": "drawn text"},
                    {"ids": torch.arange(12), "lengths": torch.tensor([4, 4, 4])}, "r")  # fmt: skip
    right = placed_at(tiny, identity(tiny.geometry.d_model), Site(1, "resid_post"))
    for about, texts, words in (({"text": "drawn text", "held": [1]}, (1,), "held out"),
                                ({"text": "drawn text"}, (0, 1, 2), "trained on"),
                                ({"text": "another"}, (0, 1, 2), "9 tokens")):  # fmt: skip
        context = Context(use={"dictionary": kept(tiny, right, **about), "text": text}.__getitem__)
        found = at_hand(tiny, Inputs(), MetricsSpec(dictionary="mine", text="t"), context, 1.0)
        assert found.texts == texts
        assert words in found.words
    fewer = at_hand(tiny, Inputs(), MetricsSpec(dictionary="mine", text="t", most_texts=2), context, 1.0)
    assert len(fewer.texts) == 2
    assert "6 tokens of 2" in fewer.words


def test_a_trained_topk_absorbs_more_than_a_nested_dictionary() -> None:
    """Two latents a word do not do for letter, child and meaning: TopK joins the first two, a short prefix may not."""
    words, _, _ = spelled()
    shares = {}
    for architecture, prefixes in (("topk", ()), ("matryoshka", (3, 64))):
        rule = Rule(architecture, k=2, auxiliary=1 / 32, prefixes=prefixes)
        training = Training(words.read, words.read, rule, 64, Schedule(500, 256, 0.005, 20 * 256))
        for _ in training.run():
            pass
        found = first_letters(training.dictionary(), words, 0.6, lambda *_: None)[0]
        shares[architecture] = float(found.fraction.mean())
    assert shares["topk"] > 0.2
    assert shares["matryoshka"] < shares["topk"] / 2


@pytest.mark.parametrize(("more", "grows"), [(3, False), (8, True)])
def test_main_latents_stop_where_f1_rises_by_three_hundredths_or_less(more: int, grows: bool) -> None:
    """Of 100 words latent 0 tells 90, F1 180/190; latent 1 tells `more` others: F1 rises by 0.016 or by 0.042."""
    truth = torch.tensor([True] * 100 + [False] * 100)
    codes = torch.zeros(200, 2)
    codes[:90, 0] = 1.0
    codes[90 : 90 + more, 1] = 1.0
    mains, f1 = main_latents(codes, truth)
    assert mains == ((0, 1) if grows else (0,))
    assert f1 == pytest.approx(2 * (90 + more * grows) / (190 + more * grows))


def test_three_latents_absorb_at_most() -> None:
    """Five others carry 1 each of a projection of 6, and the main latent 1: three of them make 3/(3 + 1)."""
    codes, along = torch.ones(1, 6), torch.ones(6)
    _, fraction = absorption(torch.tensor([6.0]), codes, along, torch.ones(6), [0])
    assert fraction.tolist() == pytest.approx([0.75])


def test_intervals_are_over_documents_not_their_pieces(tiny: Model) -> None:
    """Three long texts in pieces of 8 tokens: sums by hand over the pieces of each, and Student's t over three."""
    long = tuple(" ".join([text] * 5) for text in TEXTS.texts[:3])
    site, width = Site(1, "resid_post"), tiny.geometry.d_model
    frames = measured(tiny, placed_at(tiny, nothing(width, torch.zeros(width)), site), Inputs(texts=long), length=8)
    corpus = corpus_of_texts(tiny, long, 8)
    assert len(corpus.ids) > 6
    sums, counts = np.zeros(3), np.zeros(3)
    for document, ids in zip(corpus.documents, corpus.ids, strict=True):
        if len(ids) > 2:
            log_probs = tiny.logits(torch.tensor([ids])).log_softmax(dim=-1)[0, 1:-1]
            sums[document - 1] -= float(log_probs.gather(1, torch.tensor(ids[2:])[:, None]).sum())
            counts[document - 1] += len(ids) - 2
    row = frames["losses"].set_index("arm").loc["unchanged"]
    wanted = ratio_interval(sums, counts)
    assert (row["texts"], row["predicted"]) == (3, counts.sum())
    assert [row["ce"], row["ce_low"], row["ce_high"]] == pytest.approx([float(one) for one in wanted], rel=1e-4)
