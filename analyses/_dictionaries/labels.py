"""Labels of latents: those that people write, kept with the dictionary they belong to, and automatic ones with a score.

A label says little until it is tested. Here a labeller sees one half of the texts, and its label is scored by detection
(Bills et al. 2023; Paulo et al. 2024): how well it tells contexts of the other half in which the latent is active from
contexts in which it is not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from analyses._plots import glyphs
from hooks.errors import InputError

if TYPE_CHECKING:
    from analyses._dictionaries.firing import Firing
    from data.artifacts import Artifact
    from hooks.dictionaries import Placed

KIND = "labels"
TOKENS = 5
"""Tokens that an automatic label names at most."""
LEAST_SHARE = 0.05
"""Of a latent's activation, that a token must hold to be named, the first aside."""
Ids = npt.NDArray[np.int64]


class Labeller(Protocol):
    """Whatever gives latents labels, and tells from a label whether a latent is active in a context."""

    name: str

    def label(self, latent: int) -> str:
        """A few words; "" where it has none."""

    def fits(self, latent: int, contexts: Ids) -> npt.NDArray[np.float64]:
        """[context] how well each of [context token] fits the latent's label; −1 among the tokens is padding."""


class TokenLabeller:
    """Labels are the tokens on which a latent is active, by their share of its activation; no model is asked."""

    name = "tokens"

    def __init__(self, firing: Firing, token: Tensor, taught: Tensor, texts: Sequence[str]) -> None:
        """`token` [row] ids, `taught` [row] bool the rows that labels are made of, `texts` the vocabulary's by id."""
        self.texts = texts
        self.tokens: list[Ids] = []
        self.shares: list[npt.NDArray[np.float64]] = []
        ids, seen = token.numpy(), taught.numpy()
        for latent in range(firing.latents):
            rows, values = firing.of(latent)
            mine = seen[rows]
            found, at = np.unique(ids[rows[mine]], return_inverse=True)
            mass = np.bincount(at, weights=values[mine], minlength=len(found))
            order = np.argsort(-mass, kind="stable")[:TOKENS]
            order = order[: max(1, int((mass[order] >= LEAST_SHARE * mass.sum()).sum()))]
            self.tokens.append(found[order].astype(np.int64))
            self.shares.append(mass[order] / mass.sum() if len(found) else np.zeros(0))

    def label(self, latent: int) -> str:
        return " · ".join(
            glyphs(self.texts[one].removeprefix(" ") or self.texts[one]) for one in self.tokens[latent].tolist()
        )

    def fits(self, latent: int, contexts: Ids) -> npt.NDArray[np.float64]:
        best = np.zeros(len(contexts))
        for token, share in zip(self.tokens[latent], self.shares[latent], strict=True):
            best = np.maximum(best, share * (contexts == token).any(axis=1))
        return best


def features_id(revision: str, placed: Placed) -> str:
    """Whose features labels are: the artifact's revision and the site, for one artifact may hold several layers'."""
    return f"{revision}/{placed.reads.name}" if revision else ""


def written(words: Sequence[str], latents: int) -> dict[int, str]:
    """Labels written as "12=months". Raises InputError for anything else, and for a latent that is not there."""
    found: dict[int, str] = {}
    for one in words:
        number, sign, text = one.partition("=")
        if not sign or not number.strip().isdigit() or not text.strip():
            raise InputError(f"label {one!r}: write the latent, '=' and the label, such as 12=months")
        found[_valid(int(number), latents)] = text.strip()
    return found


def contents(labels: Mapping[int, str], revision: str, latents: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, meta) of an artifact. Raises InputError where the dictionary is not a kept one."""
    if not revision:
        raise InputError("labels are kept with a kept dictionary: name one (--dictionary)")
    told = {"revision": revision, "latents": latents, "labels": {str(k): labels[k] for k in sorted(labels)}}
    return {"latents": torch.tensor(sorted(labels), dtype=torch.long)}, told


def labels_of(artifact: Artifact, revision: str, latents: int) -> dict[int, str]:
    """Those of an artifact. Raises InputError when they were written for other features."""
    return _checked(artifact.meta, f"labels {artifact.name!r}", revision, latents)


def lines_of(labels: Mapping[int, str], revision: str, latents: int) -> str:
    """A JSONL file: its first line says whose labels, each other line is one."""
    head = {"revision": revision, "latents": latents}
    rows = [{"latent": one, "label": labels[one]} for one in sorted(labels)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in (head, *rows))


def labels_of_lines(text: str, where: str, revision: str, latents: int) -> dict[int, str]:
    """The inverse of `lines_of`. Raises InputError for other features, and for what is no label, by its line."""
    found: dict[str, str] = {}
    head: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            if number == 1:
                head = {"revision": str(row["revision"]), "latents": int(row["latents"])}
            else:
                found[str(int(row["latent"]))] = str(row["label"])
        except (ValueError, KeyError, TypeError) as error:
            wanted = '{"revision": …, "latents": …}' if number == 1 else '{"latent": 12, "label": "months"}'
            raise InputError(f"{where}, line {number}: expected {wanted}, got {line[:60]!r}") from error
    return _checked(head | {"labels": found}, where, revision, latents)


def _checked(meta: Mapping[str, Any], where: str, revision: str, latents: int) -> dict[int, str]:
    if meta.get("revision") != revision or not revision:
        mine = revision or "one made on the spot"
        raise InputError(f"{where} are for other features, {meta.get('revision')}; these are {mine}")
    return {_valid(int(one), latents): str(text) for one, text in dict(meta.get("labels") or {}).items()}


def _valid(latent: int, latents: int) -> int:
    if not 0 <= latent < latents:
        raise InputError(f"label of latent {latent}: this dictionary has {latents} latents, from 0")
    return latent
