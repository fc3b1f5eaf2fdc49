"""Dictionaries in use: each architecture by its own formula, prefixes, places, and edits through them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from hooks.capture import run_with_cache
from hooks.dictionaries import Dictionary, Placed, Recode, channels
from hooks.errors import InputError
from hooks.sites import Site

if TYPE_CHECKING:
    from hooks.model import Model

ROWS, D, M = 9, 6, 17


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def made(architecture: str, **more: object) -> Dictionary:
    own = {"gated": {"b_gate": draw(M, seed=3), "b_mag": draw(M, seed=4), "r_mag": draw(M, seed=5)},
           "jumprelu": {"b_enc": draw(M, seed=6), "threshold": draw(M, seed=7).abs()}}  # fmt: skip
    base = {"W_enc": draw(D, M), "W_dec": draw(M, D), "b_dec": draw(D), "k": 3 if architecture == "topk" else None}
    return Dictionary(architecture, **(base | own.get(architecture, {"b_enc": draw(M, seed=6)}) | more))  # type: ignore[arg-type]


def test_each_architecture_by_its_formula() -> None:
    x = draw(ROWS, D, seed=9)
    for centred in (True, False):
        for architecture in ("standard", "gated", "topk", "jumprelu"):
            one = made(architecture, centred=centred)
            plain = (x - one.b_dec if centred else x) @ one.W_enc
            if architecture == "gated":
                assert one.b_gate is not None
                assert one.b_mag is not None
                assert one.r_mag is not None
                f = (plain + one.b_gate > 0) * torch.relu(plain * one.r_mag.exp() + one.b_mag)
            else:
                assert one.b_enc is not None
                z = plain + one.b_enc
                f = torch.relu(z)
                if one.threshold is not None:
                    f = f * (z > one.threshold)
                if architecture == "topk":
                    f = f * (z >= z.topk(3, dim=1).values[:, -1:])
            assert torch.allclose(one.encode(x).to_dense(), f, atol=1e-5), architecture
            assert torch.allclose(one.reconstruct(x), f @ one.W_dec + one.b_dec, atol=1e-4)
            assert 0 < int((f > 0).sum()) < ROWS * M


def test_a_layer_norm_is_undone_and_a_skip_goes_past() -> None:
    x = 5 * draw(ROWS, D, seed=9) + 3
    one = made("standard", layer_norm=True)
    mean, deviation = x.mean(dim=1, keepdim=True), x.std(dim=1, keepdim=True)
    read = (x - mean) / (deviation + 1e-5)
    assert one.b_enc is not None
    f = torch.relu((read - one.b_dec) @ one.W_enc + one.b_enc)
    assert torch.allclose(one.reconstruct(x), (f @ one.W_dec + one.b_dec) * deviation + mean, atol=1e-3)
    skipping = made("standard", W_skip=draw(D, D, seed=8), centred=False)
    bare = replace(skipping, W_skip=None)
    assert skipping.W_skip is not None
    assert torch.allclose(skipping.reconstruct(x), bare.reconstruct(x) + x @ skipping.W_skip.T, atol=1e-3)
    with pytest.raises(InputError, match="decoding needs the input"):
        skipping.decode(skipping.encode(x))


def test_rescaled_topk_chooses_by_what_is_written() -> None:
    x = draw(ROWS, D, seed=9)
    one = made("topk", rescaled=True, W_dec=draw(M, D) * torch.linspace(0.01, 10, M)[:, None])
    assert one.b_enc is not None
    z = ((x - one.b_dec) @ one.W_enc + one.b_enc) * one.W_dec.norm(dim=1)
    kept = torch.zeros_like(z).scatter(1, z.topk(3, dim=1).indices, 1) * torch.relu(z)
    expected = kept @ (one.W_dec / one.W_dec.norm(dim=1, keepdim=True)) + one.b_dec
    assert torch.allclose(one.reconstruct(x), expected, atol=1e-4)


def test_parts_are_dictionaries_and_come_back() -> None:
    x, one = draw(ROWS, D, seed=9), made("jumprelu", prefixes=(5, M))
    assert torch.equal(one.prefix(5).encode(x).to_dense(), one.encode(x).to_dense()[:, :5])
    assert one.prefix(5).prefixes == (5,)
    back = Dictionary.of(one.tensors(), one.settings())
    assert torch.equal(back.encode(x).value, one.encode(x).value)
    assert back.settings() == one.settings()


def test_what_is_no_dictionary_is_refused() -> None:
    with pytest.raises(InputError, match="dictionary architecture"):
        made("relu")
    with pytest.raises(InputError, match="needs b_enc and threshold"):
        Dictionary("jumprelu", draw(D, M), draw(M, D), draw(D))
    with pytest.raises(InputError, match=r"W_dec must be|b_enc must be"):
        made("standard", b_enc=draw(M + 1))
    with pytest.raises(InputError, match="W_enc has NaN or infinity in 102 of 102"):
        made("standard", W_enc=torch.full((D, M), torch.nan))
    with pytest.raises(InputError, match="k from 1 to d_sae = 17, got 18"):
        made("topk", k=18)
    with pytest.raises(InputError, match=r"reads \[row 6\], got \(9, 5\)"):
        made("standard").encode(draw(ROWS, 5))
    with pytest.raises(InputError, match="cannot encode this"):
        made("standard").encode(torch.full((1, D), torch.inf))
    with pytest.raises(InputError, match="this dictionary has 17 latents"):
        made("standard").prefix(18)


def of_model(model: Model) -> Placed:
    width = channels(Site(1, "resid_post"), model)
    one = Dictionary("standard", draw(width, M), draw(M, width), draw(width), draw(M, seed=6))
    return Placed(one, Site(1, "resid_post"), Site(1, "resid_post"), model.identity.as_dict())


def test_a_place_is_checked(tiny: Model) -> None:
    placed = of_model(tiny)
    placed.check(tiny)
    with pytest.raises(InputError, match="made for a model of revision 'other'"):
        replace(placed, model=placed.model | {"revision": "other"}).check(tiny)
    with pytest.raises(InputError, match="layer 99 does not exist"):
        replace(placed, reads=Site(99, "resid_post")).check(tiny)
    with pytest.raises(InputError, match="this dictionary reads"):
        replace(placed, reads=Site(1, "mlp_post")).check(tiny)


def test_edits_through_a_dictionary(tiny: Model) -> None:
    """Nothing edited changes nothing; a clamp moves along its direction; without the error it is the reconstruction."""
    placed, site, ids = of_model(tiny), Site(1, "resid_post"), torch.tensor([[1, 5, 9, 4]])
    plain = run_with_cache(tiny, ids, [site])[site]
    dictionary = placed.dictionary

    def edited(**more: object) -> Tensor:
        return run_with_cache(tiny, ids, [site], [Recode(site, dictionary=dictionary, **more)])[site]  # type: ignore[arg-type]

    assert torch.equal(edited(), plain)
    assert torch.allclose(edited(keep_error=False), dictionary.reconstruct(plain), atol=1e-5)
    old = dictionary.encode(plain[0]).to_dense()[:, [3, 4]]
    assert float(old[:, 1].max()) > 0
    towards = (5.0 - old[:, :1]) * dictionary.W_dec[3] - old[:, 1:] * dictionary.W_dec[4]
    assert torch.allclose(edited(clamp={3: 5.0}, scale={4: 0.0}), plain + towards, atol=1e-4)
    alone = edited(clamp={3: 5.0}, scale={4: 0.0}, keep_error=False)
    assert torch.allclose(alone, dictionary.reconstruct(plain) + towards, atol=1e-4)
    with pytest.raises(InputError, match="latent 17 does not exist"):
        Recode(site, dictionary=dictionary, clamp={17: 1.0})
    with pytest.raises(InputError, match="clamped and scaled"):
        Recode(site, dictionary=dictionary, clamp={1: 1.0}, scale={1: 0.0})
