"""Sites: names round-trip, shapes are those of real captures, errors offer what is valid."""

from __future__ import annotations

import re

import pytest

from hooks.capture import run_with_cache
from hooks.errors import InputError
from hooks.model import Model
from hooks.sites import ALIASES, BLOCK_NAMES, KINDS, MODEL_NAMES, Site


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_parses_back_to_its_site(kind: str) -> None:
    site = Site(None if kind in MODEL_NAMES else 3, kind)
    assert Site.parse(site.name) == site


@pytest.mark.parametrize(("alias", "kind"), ALIASES.items())
def test_a_bridge_alias_is_the_same_place(any_tiny: Model, alias: str, kind: str) -> None:
    assert Site.parse(f"blocks.1.{alias}") == Site(1, kind)


def test_names_are_distinct() -> None:
    assert len(set(BLOCK_NAMES.values()) | set(MODEL_NAMES.values())) == len(KINDS)


def test_whole_drops_head_and_position() -> None:
    assert Site(2, "z", head=1, position=(0, 3)).whole == Site(2, "z")


def test_labels_name_layer_and_head() -> None:
    assert Site(9, "z", head=6).label == "L9H6 z"
    assert Site(4, "resid_pre").label == "resid_pre L4"
    assert Site(None, "embed").label == "embed"


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("blocks.0.hook_resid_prr", "blocks.L.hook_resid_pre"),
        ("blocks.2.attn.hook_zz", "blocks.L.attn.hook_z"),
        ("hook_embd", "hook_embed"),
        ("hook_resid_pre", "blocks.L.hook_resid_pre"),
        ("blocks.1.hook_embed", "hook_embed"),
        ("", "hook_embed"),
    ],
)
def test_an_unknown_name_offers_the_nearest(name: str, offered: str) -> None:
    with pytest.raises(InputError, match=re.escape(offered)) as caught:
        Site.parse(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("site", "says"),
    [
        (Site(0, "resid_prr"), "did you mean 'resid_pre'"),
        (Site(None, "z"), "'z' needs a layer"),
        (Site(0, "embed"), "'embed' has no layer"),
        (Site(99, "z"), "layer 99 does not exist: valid layers are 0 to"),
        (Site(-1, "z"), "layer -1 does not exist"),
        (Site(0, "z", head=99), "head 99 of 'z' does not exist"),
        (Site(0, "resid_pre", head=0), "'resid_pre' has no heads"),
    ],
)
def test_a_site_the_model_lacks_is_refused(tiny: Model, site: Site, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        site.check(tiny.geometry)


def test_key_and_value_heads_are_counted_in_groups(tiny: Model) -> None:
    geometry = tiny.geometry
    assert geometry.n_key_value_heads < geometry.n_heads
    Site(0, "q", head=geometry.n_heads - 1).check(geometry)
    with pytest.raises(InputError, match=f"{geometry.n_key_value_heads} heads"):
        Site(0, "k", head=geometry.n_heads - 1).check(geometry)


def test_parallel_blocks_have_no_resid_mid(any_tiny: Model) -> None:
    if any_tiny.geometry.parallel_blocks:
        with pytest.raises(InputError, match="in parallel"):
            Site(0, "resid_mid").check(any_tiny.geometry)
    else:
        Site(0, "resid_mid").check(any_tiny.geometry)


def test_shapes_are_those_of_captures(any_tiny: Model, draw, sites_of) -> None:
    sites = sites_of(any_tiny.geometry)
    cache = run_with_cache(any_tiny, draw(any_tiny, 2, 5), sites)
    assert {s: tuple(cache[s].shape) for s in sites} == {s: s.shape(any_tiny.geometry, 2, 5) for s in sites}
