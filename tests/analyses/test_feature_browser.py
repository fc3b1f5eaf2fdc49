"""The feature browser: what it says of latents whose every activation and effect is known beforehand.

More than 200 lines: one small dictionary, whose every activation is known, serves every test here.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._contract import Context, Frames, Inputs
from analyses._dictionaries.corpus import corpus_of_texts
from analyses._dictionaries.detection import detection, halves_of_texts, windows_of
from analyses._dictionaries.firing import Firing, firing
from analyses._dictionaries.kept import contents as dictionary_contents
from analyses._dictionaries.labels import (
    TokenLabeller,
    contents,
    labels_of,
    labels_of_lines,
    lines_of,
    written,
)
from analyses.feature_browser import ANALYSIS, BrowserSpec
from analyses.feature_browser.choosing import chosen_latent, detail, listed
from analyses.feature_browser.computing import distinct
from analyses.feature_browser.contexts import Texts, chosen_rows, together
from analyses.feature_browser.effects import effects, in_stream
from data.artifacts import Artifact
from hooks.capture import run_with_cache
from hooks.dictionaries import Dictionary
from hooks.errors import InputError
from hooks.load import load
from hooks.model import Model
from hooks.sites import Site
from tests.analyses.planted_dictionary import TEXTS, planted

GIVEN = Inputs(texts=TEXTS)


def used(model: Model, **more: Artifact) -> dict[str, Artifact]:
    tensors, meta = dictionary_contents([planted(model)], {})
    return {"dictionary": Artifact("mine", "dictionary", meta, tensors, "r1"), **more}


def browsed(model: Model, inputs: Inputs = GIVEN, context: Context | None = None, **spec: Any) -> Frames:
    given = BrowserSpec(**{"dictionary": "mine", **spec})
    return ANALYSIS.conform(ANALYSIS.run(model, inputs, given, context or Context(use=used(model).__getitem__)))


@pytest.fixture(scope="module")
def frames(models_folder: Any) -> Frames:
    return browsed(load("toy:random", models_folder))


def test_contexts_hold_the_latents_own_activations(tiny: Model, frames: Frames) -> None:
    """Every activation shown is the one that encoding the text's own states gives, and 0 where it is not active."""
    placed = planted(tiny)
    for _, row in frames["contexts"].iterrows():
        ids = tiny.encode(TEXTS[row["text"]])
        states = tiny_states(tiny, ids, placed.reads)
        dense = placed.dictionary.encode(states).to_dense()[:, row["latent"]]
        dense[0] = 0
        tokens, active = json.loads(row["tokens"]), json.loads(row["activations"])
        shown = slice(row["first"], row["first"] + len(tokens))
        assert tokens == tiny.str_tokens(ids)[shown]
        assert active == pytest.approx(dense[shown].tolist(), rel=1e-3, abs=1e-4)
        assert row["activation"] == pytest.approx(float(dense[row["position"]]), rel=1e-3)


def tiny_states(model: Model, ids: list[int], site: Site) -> torch.Tensor:
    return run_with_cache(model, torch.tensor([ids]), [site])[site][0].float()


def test_every_latent_has_its_row(tiny: Model, frames: Frames) -> None:
    latents = frames["latents"]
    assert list(latents["latent"]) == list(range(12))
    assert latents["norm"].tolist() == pytest.approx([2.0] * 12)
    assert latents["density"].iloc[11] == 0 == latents["largest"].iloc[11]
    assert latents["top_token"].iloc[11] == "" == latents["automatic"].iloc[11]
    assert 11 not in set(frames["contexts"]["latent"])
    assert frames["contexts"].groupby("latent").size().max() <= 8
    active = frames["contexts"].groupby("latent")["activation"].max()
    assert latents["largest"].loc[active.index].tolist() == pytest.approx(active.tolist(), rel=1e-6)
    counts = frames["activations"].groupby("latent")["count"].sum()
    tokens = frames["about"]["tokens"].iloc[0]
    assert (latents["density"].loc[counts.index] * tokens).round().tolist() == counts.tolist()


def test_effects_are_the_path_through_the_final_norm(any_tiny: Model) -> None:
    """By hand: the change of the normed stream for a small step along a direction, its scale held."""
    placed = planted(any_tiny)
    found = effects(any_tiny, placed, 5)
    norm = any_tiny.norm(None)
    direction = placed.dictionary.directions[3]
    by_hand = (norm.centre(direction) * norm.weight) @ any_tiny.W_U.float()
    by_hand = by_hand - by_hand.mean()
    assert found.promoted[3].tolist() == by_hand.topk(5).indices.tolist()
    assert found.suppressed_logits[3].tolist() == pytest.approx(
        by_hand.topk(5, largest=False).values.tolist(), abs=1e-4
    )


@pytest.mark.parametrize("kind", ["z", "mlp_post"])
def test_directions_of_heads_and_neurons_arrive_in_the_stream(tiny: Model, kind: str) -> None:
    placed = planted(tiny, kind)
    arrived = in_stream(tiny, placed)
    through = tiny.W_O(1).flatten(0, 1) if kind == "z" else tiny.W_out(1)
    assert torch.allclose(arrived, placed.dictionary.directions @ through, atol=1e-5)
    with pytest.raises(InputError, match="does not write to the residual stream"):
        in_stream(tiny, planted(tiny, "q"))


def test_latents_that_are_always_together_have_phi_1() -> None:
    on = [np.array([0, 1, 5]), np.array([0, 1, 5]), np.array([2, 3, 4]), np.zeros(0, int)]
    pointer = np.concatenate([[0], np.cumsum([len(one) for one in on])])
    fires = Firing(pointer, np.concatenate(on), np.ones(9), 6)
    others, phi = together(fires, 2)
    assert others[0, 0] == 1
    assert phi[0].tolist() == pytest.approx([1.0, -1.0])
    assert np.isnan(phi[3]).all()


def test_firing_is_the_dense_code_by_latent() -> None:
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    one = Dictionary("topk", torch.randn(6, 9, generator=torch.Generator().manual_seed(1)), torch.eye(9)[:, :6],
                     torch.zeros(6), b_enc=torch.zeros(9), k=3)  # fmt: skip
    fires, dense = firing(one, x, lambda *_: None), one.encode(x).to_dense().numpy()
    for latent in range(9):
        rows, values = fires.of(latent)
        assert rows.tolist() == np.flatnonzero(dense[:, latent]).tolist()
        assert values == pytest.approx(dense[rows, latent])


def test_bands_go_from_the_highest_to_the_lowest() -> None:
    text, position = np.repeat([0, 1], 40), np.tile(np.arange(1, 41), 2)
    texts = Texts(text, position, [range(41), range(41)], str)
    rows, values = np.arange(80), np.linspace(1, 80, 80)
    chosen = list(chosen_rows(rows, values, texts, 8, 10))
    assert [band for band, _, _ in chosen] == ["highest"] * 4 + ["top quarter", "second quarter", "third quarter",
                                                                "lowest quarter"]  # fmt: skip
    shown = [row for _, _, row in chosen]
    assert shown[0] == 79
    assert shown[4:] == sorted(shown[4:], reverse=True)
    assert min(abs(a - b) for a in shown[:4] for b in shown[:4] if a != b) > 10, "contexts do not overlap"


def test_labels_are_made_on_one_half_and_scored_on_the_other() -> None:
    """Latent 0 is active on token 7 alone, latent 1 on rows at random: the first label tells, the second does not."""
    draw = np.random.default_rng(0)
    token, text = torch.tensor(draw.integers(8, 60, 4000)), torch.arange(4000) // 40
    token[::9] = 7
    on = [np.flatnonzero(token.numpy() == 7), np.sort(draw.choice(4000, 300, replace=False))]
    fires = Firing(np.array([0, len(on[0]), len(on[0]) + 300]), np.concatenate(on), np.ones(len(on[0]) + 300), 4000)
    held = text >= 50
    words = [f" w{one}" for one in range(60)]
    labeller = TokenLabeller(fires, token, ~held, words)
    assert labeller.label(0) == "w7"
    assert labeller.fits(0, np.array([[7, 1], [1, 2]])).tolist() == [1.0, 0.0]
    windows = windows_of(text, token, 2)
    assert windows[40].tolist() == [-1, -1, int(token[40])]
    told = detection(labeller, fires, windows, held, 0, 0)
    assert told.auroc == 1
    assert told.tested >= 4
    blind = [detection(labeller, fires, windows, held, 1, seed).auroc for seed in range(20)]
    assert 0.35 < float(np.mean(blind)) < 0.65
    none = detection(labeller, fires, windows, torch.zeros(4000, dtype=torch.bool), 0, 0)
    assert np.isnan(none.auroc)


def test_the_users_prompt_is_shown(tiny: Model) -> None:
    frames = browsed(tiny, Inputs(prompt="the red house"), drawn=100, length=8)
    assert "".join(frames["own_tokens"]["token"]) == "the red house"
    states = tiny_states(tiny, tiny.encode("the red house"), planted(tiny).reads)
    dense = planted(tiny).dictionary.encode(states).to_dense()
    for _, row in frames["own"].iterrows():
        assert row["activation"] == pytest.approx(float(dense[int(row["position"]), int(row["latent"])]), rel=1e-3)
    assert 0 not in set(frames["own"]["position"])
    assert frames["about"]["own"].iloc[0] == "the prompt"


def test_sorting_searching_and_choosing(frames: Frames) -> None:
    by_density = listed(frames, BrowserSpec(sort="density", rows=3))
    assert by_density[1] == 12
    assert by_density[0]["density"].tolist() == frames["latents"]["density"].nlargest(3).tolist()
    assert chosen_latent(frames, BrowserSpec(sort="density")) == by_density[0]["latent"].iloc[0]
    token = frames["effects"]["token"].iloc[0]
    found, count = listed(frames, BrowserSpec(find=token, find_in="promoted"))
    assert 0 in set(found["latent"])
    moved = frames["effects"][frames["effects"]["direction"] == "promoted"]
    hit = moved["token"].str.lower().str.contains(token.lower(), regex=False)
    assert count == moved[hit]["latent"].nunique()
    assert listed(frames, BrowserSpec(find="no such thing"))[1] == 0
    assert ANALYSIS.figures(frames, BrowserSpec(find="no such thing"))["latents"].layout.meta["notes"]
    assert chosen_latent(frames, BrowserSpec(latent=5)) == 5
    with pytest.raises(InputError, match="latents 0 to 11"):
        ANALYSIS.figures(frames, BrowserSpec(latent=12))
    opened = detail(frames, BrowserSpec(), "latents", "density", "0")
    assert opened is not None
    assert opened["context"].str.contains("[", regex=False).all()
    assert detail(frames, BrowserSpec(), "latents", "density", "0 (red · book)") is not None


def test_every_latent_can_be_drawn_even_one_that_is_never_active(frames: Frames) -> None:
    for latent in (0, 11):
        drawn = ANALYSIS.figures(frames, BrowserSpec(latent=latent))
        assert set(drawn) == set(ANALYSIS.pictures(BrowserSpec()) if ANALYSIS.pictures else ())
    strip = ANALYSIS.figures(frames, BrowserSpec(latent=0))["contexts"].layout.meta
    contexts = frames["contexts"][frames["contexts"]["latent"] == 0]
    assert sum(strip["breaks"]) == len(contexts)


def test_labels_are_kept_with_their_dictionary(tiny: Model) -> None:
    kept: dict[str, Any] = {}
    context = Context(
        use=used(tiny).__getitem__, keep=lambda *given: kept.update(dict(zip("nktm", given, strict=True)))
    )
    frames = browsed(tiny, context=context, write=("3=colours", "5 = the end"), keep_as="names")
    assert frames["latents"]["written"].iloc[[3, 5]].tolist() == ["colours", "the end"]
    assert (kept["n"], kept["k"]) == ("names", "labels")
    artifact = Artifact("names", "labels", kept["m"], kept["t"], "l1")
    again = browsed(
        tiny, context=Context(use=used(tiny, labels=artifact).__getitem__), labels="names", write=("3=red",)
    )
    assert again["latents"]["written"].iloc[[3, 5]].tolist() == ["red", "the end"]
    assert listed(again, BrowserSpec(find="the END", find_in="label"))[0]["latent"].tolist() == [5]
    other = Artifact("names", "labels", kept["m"] | {"revision": "r9"}, kept["t"], "l1")
    with pytest.raises(InputError, match="are for other features, r9"):
        browsed(tiny, context=Context(use=used(tiny, labels=other).__getitem__), labels="names")
    with pytest.raises(InputError, match="belong to a kept dictionary"):
        ANALYSIS.check(tiny, GIVEN, BrowserSpec(write=("1=x",), keep_as="names"))
    with pytest.raises(InputError, match="kept with a kept dictionary"):
        contents({1: "x"}, "", 4)


def test_a_file_of_labels() -> None:
    labels = {2: "months", 0: "“quotes”"}
    text = lines_of(labels, "r1", 4)
    assert labels_of_lines(text, "mine.jsonl", "r1", 4) == labels
    assert labels_of(Artifact("a", "labels", contents(labels, "r1", 4)[1], {}, "x"), "r1", 4) == labels
    for wrong, words in (
        (text.replace("r1", "r2"), "mine.jsonl are for other features, r2"),
        (text.replace('"latent": 2', '"latent": 9'), "latent 9: this dictionary has 4"),
        (text + "{}\n", "line 4"),
        ('{"latent": 1}\n', "line 1"),
    ):
        with pytest.raises(InputError, match=words):
            labels_of_lines(wrong, "mine.jsonl", "r1", 4)
    for wrong in ("months", "x=months", "3="):
        with pytest.raises(InputError, match="12=months"):
            written([wrong], 4)
    with pytest.raises(InputError, match="latent 4"):
        written(["4=x"], 4)


def test_bad_input_is_refused_before_anything_is_read(tiny: Model) -> None:
    def never(_fraction: float, words: str) -> None:
        raise AssertionError(words)

    for spec, words in (
        ({"layer": 2}, "has layers 1"), ({"write": ("12=x",)}, "has 12 latents"), ({"latent": 12}, "latents 0 to 11"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            browsed(tiny, context=Context(use=used(tiny).__getitem__, progress=never), **spec)
    with pytest.raises(InputError, match="latents 0 to 255"):
        ANALYSIS.check(tiny, GIVEN, BrowserSpec(latent=900))


def test_a_column_that_is_the_same_for_all_is_left_out(frames: Frames) -> None:
    """All directions have length 2; with others the column is there. Labels stand beside the latents."""
    columns = [drawn_table(frames), drawn_table(frames | {"latents": uneven(frames["latents"])})]
    assert [len(one) for one in columns] == [6, 7]
    labelled = frames["latents"].assign(written="a label that is much longer than the room there is")
    shown = json.dumps(
        ANALYSIS.figures(frames | {"latents": labelled}, BrowserSpec())["latents"].to_plotly_json(), default=str
    )
    assert "0 a label that is much" in shown
    note = ANALYSIS.figures(frames, BrowserSpec())["latents"].layout.meta["notes"][0]
    assert "All directions have length 2." in note


def uneven(latents: pd.DataFrame) -> pd.DataFrame:
    return latents.assign(norm=np.linspace(1, 2, len(latents)))


def drawn_table(frames: Frames) -> list[str]:
    return list(ANALYSIS.figures(frames, BrowserSpec(rows=1))["latents"].layout.meta["words"][0])


def test_a_label_names_no_token_twice() -> None:
    assert distinct("you · \\ · your · \\") == "you · \\ · your"
    assert distinct("") == ""


def test_pieces_of_a_document_are_in_one_half(tiny: Model) -> None:
    """Cut in pieces of 3 tokens, the labels' halves are still of whole texts."""
    corpus = corpus_of_texts(tiny, TEXTS, 3)
    assert len(corpus.ids) > len(TEXTS)
    text = torch.arange(len(corpus.ids))
    held = halves_of_texts(corpus.document_of(text), 0)
    for pieces in corpus.pieces().values():
        assert len({bool(held[one]) for one in pieces}) == 1
    assert 0 < len({corpus.documents[one] for one in text[held].tolist()}) < len(TEXTS)


def test_a_model_can_be_asked_for_labels_of_chosen_latents(real: Model) -> None:
    """Each is its own words with its own score, beside the label of tokens; without a model nobody is asked."""
    tensors, meta = dictionary_contents([planted(real)], {})
    uses = {"dictionary": Artifact("mine", "dictionary", meta, tensors, "r1"), "asks": real}
    asked = browsed(real, context=Context(use=uses.__getitem__), asks="smollm2-135m", ask=(3, 1))["asked"]
    assert asked["latent"].tolist() == [3, 1]
    assert (asked["label"] != "").all()
    tested = asked[asked["tested"] > 0]
    assert ((tested["auroc"] >= tested["low"]) & (tested["auroc"] <= tested["high"])).all()
    assert ANALYSIS.pictures is not None
    assert "asked" in ANALYSIS.pictures(BrowserSpec(asks="smollm2-135m"))


def test_whom_to_ask_and_about_what_is_told_early(tiny: Model, frames: Frames) -> None:
    assert frames["asked"].empty
    with pytest.raises(InputError, match="name one \\(--asks"):
        ANALYSIS.check(tiny, GIVEN, BrowserSpec(ask=(3,)))
    with pytest.raises(InputError, match="option ask = 12: this dictionary has latents 0 to 11"):
        browsed(tiny, asks="toy:random", ask=(12,))
