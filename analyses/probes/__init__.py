"""Probes: what can be read from a state by one linear score a class, and does the model use that direction?

Every text has a label, or every task is answered rightly or wrongly. Linear probes of a site and layer are fitted on
some groups of texts and tested on the others: logistic, least squares, mass-mean and nearest centroid, and where a kept
dictionary is named, k-sparse ones on its latents. Beside each score stand chance, the commonest class, the words alone,
and a probe of control labels, random by type, which says what such a probe can learn by heart. A probe can be kept; its
direction can be ablated, patched and added, on texts it was not fitted on, beside random directions.

Sources: Alain and Bengio 2017 (linear probes), Hewitt and Liang 2019 (control tasks, selectivity), Marks and Tegmark
2024 (mass-mean), Gurnee et al. 2023 (k-sparse, largest difference of means), Guo et al. 2017 (calibration).

Ours: the folds share no group, but for selectivity: there labels and control labels are tested on random folds, where
types recur, for without that no probe could know them. Targets are sets: a prediction is right where it is any of the
row's classes, and the logistic loss is −log of their summed probability. Means over tokens leave the first token out,
and edits leave it alone. What is ablated is the whole subspace on which predictions depend, held at its mean; a control
moves every vector exactly as far along a random direction; a new probe of what ablation leaves stands beside new
probes without random subspaces of its rank. A probe is applied to half of the folds and fitted on the others; where no
layer is named, the most accurate one is taken, whose score is a maximum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from analyses._contract import Analysis, Context, Frames, Inputs, Spec, an_artifact
from analyses._dictionaries.kept import KIND as DICTIONARY
from analyses.probes.choosing import check_chosen, sites_of
from analyses.probes.columns import COLUMNS
from analyses.probes.computing import probe_all
from analyses.probes.figures import figures, names
from analyses.probes.fitting import K_SPARSE, Method
from analyses.probes.kept import KIND, class_of
from analyses.probes.reading import RIGHT, WRONG, classed, items_of
from data.artifacts import check_name
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model


class ProbesSpec(Spec):
    """Options of probes."""

    methods: tuple[Method, ...] = Field(
        ("logistic", "linear", "mass_mean", "nearest_centroid"), min_length=1, description="how probes are fitted"
    )
    sites: tuple[Literal["resid_post", "resid_mid", "resid_pre", "attn_out", "mlp_out", "z", "mlp_post"], ...] = Field(
        ("resid_post",), min_length=1, description="what is read"
    )
    layers: tuple[int, ...] = Field((), description="layers to read; none given means seven over the depth")
    position: Literal["last", "mean"] = Field("mean", description="the last token, or the mean over tokens")
    target: Literal["label", "right", "answer"] | None = Field(
        None,
        description="label: of the text or task; right: whether the model answers rightly; answer: any of the task's "
        "answers; none means label for texts, right for tasks",
    )
    read_tokens: int = Field(128, ge=1, le=8192, description="tokens of a text that are read, from its beginning")
    new_tokens: int = Field(8, ge=1, le=64, description="greedy tokens in which a right answer must appear")
    folds: int = Field(5, ge=2, le=20, description="folds; no group is in two of them")
    c: float = Field(0.1, gt=0, description="inverse strength of the L2 penalty of logistic and linear probes")
    control_draws: int = Field(3, ge=1, le=50, description="draws of the control labels")
    control_type: Literal["group", "last_token", "first_token"] | None = Field(
        None, description="what rows with one control label share; none means what recurs: group, or last token"
    )
    dictionary: str | None = an_artifact(DICTIONARY, "a kept dictionary for k-sparse probes; none given: none")
    dictionary_layer: int | None = Field(None, ge=0, description="which of its layers; none means the first")
    sparsities: tuple[int, ...] = Field((1, 4, 16), min_length=1, description="latents that a class has, at most")
    chosen_method: Literal["logistic", "linear", "mass_mean", "nearest_centroid", "k_sparse"] | None = Field(
        None, description="method of the probe that is shown, kept and applied; none means the first"
    )
    chosen_layer: int | None = Field(None, ge=0, description="its layer; none means the most accurate one")
    chosen_site: str | None = Field(None, min_length=1, description="its site; none means the most accurate one")
    toward: str | None = Field(None, min_length=1, description="class that its direction speaks for; none: the last")
    edits: tuple[Literal["ablate", "patch", "steer"], ...] = Field(
        (), description="what is done with its direction; none given means nothing"
    )
    probe: str | None = an_artifact(KIND, "a kept probe to test and apply; none given applies the one fitted here")
    amounts: tuple[float, ...] = Field(
        (-2.0, 2.0), min_length=1, description="how much is added, in distances between class means"
    )
    applied_texts: int = Field(24, ge=2, le=10_000, description="texts held out from it that edits are run on, at most")
    random_draws: int = Field(3, ge=2, le=50, description="random directions beside every edit")
    keep_as: str | None = Field(None, min_length=1, description="name to keep the chosen probe of all rows under")
    draw_seed: int = Field(0, ge=0, description="seed of the folds, the control labels and the random directions")


def run(model: Model, inputs: Inputs, spec: ProbesSpec, context: Context) -> Frames:
    """Read, fit, test and apply; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: as `check` does; labels of one class (with the counts), a dictionary or probe of another model, a
            class that is not there, activations that are not finite.
    """
    check(model, inputs, spec)
    return probe_all(model, inputs, spec, context)


def check(model: Model, inputs: Inputs, spec: ProbesSpec) -> None:
    """Refuse what can be seen before anything runs."""
    sites = sites_of(model, spec)
    if spec.chosen_method != K_SPARSE:
        check_chosen(spec, sites)
    if spec.keep_as is not None:
        check_name(spec.keep_as)
    wrong = [one for one in spec.sparsities if one < 1]
    if wrong:
        raise InputError(f"option sparsities = {wrong[0]}: a k-sparse probe has at least 1 latent")
    bad = [one for one in spec.amounts if not np.isfinite(one) or one == 0]
    if bad:
        raise InputError(f"option amounts = {bad[0]}: give finite numbers other than 0")
    if spec.chosen_method == K_SPARSE and spec.dictionary is None:
        raise InputError("option chosen_method = 'k_sparse' needs a kept dictionary (--dictionary)")
    if spec.chosen_method == K_SPARSE and (spec.keep_as or spec.edits):
        raise InputError("a k-sparse probe reads latents: keep or apply another one, or use feature_steering")
    if spec.chosen_method not in (None, K_SPARSE, *spec.methods):
        raise InputError(f"option chosen_method = {spec.chosen_method!r} is not among the methods: "
                         f"{', '.join(spec.methods)}")  # fmt: skip
    items, target = items_of(model, inputs, spec)
    if len({one.group for one in items}) < 2:
        raise InputError(f"{len(items)} items of one group: a probe is tested on other groups than it is fitted on")
    class_of(spec.toward, (RIGHT, WRONG) if target == "right" else classed(items, target).classes)


_WORDS = ("red", "green", "blue", "black", "white", "brown", "grey", "pink")
_TEXTS = [f"the {word} {thing} is {what}" for word in _WORDS for thing, what in (("book", "here"), ("cat", "there"))]
_TASKS = [
    {"text": f"{who} went to the {where}", "answers": ["and", "&"] if place % 2 else ["zzqxj"], "group": who,
     "label": where}
    for place, who in enumerate(("Mary", "John", "Paul", "Anna")) for where in ("park", "shop")
]  # fmt: skip
ANALYSIS = Analysis(
    name="probes",
    title="Linear probes",
    family="Features",
    question="What can be read from a state by one linear score a class, and does the model use that direction?",
    meaning="Accuracy on held-out groups beside chance, the commonest class, the words alone and control labels.",
    paper="Hewitt and Liang 2019, Designing and Interpreting Probes with Control Tasks; Marks and Tegmark 2024",
    needs=("texts", "tasks"),
    spec=ProbesSpec,
    version=2,
    onward=("feature_browser", "steering"),
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=names,
    trial=(
        {"texts": _TEXTS, "labels": ["thing", "animal"] * len(_WORDS),
         "spec": {"methods": ["logistic", "mass_mean"], "control_draws": 1, "random_draws": 2,
                  "edits": ["ablate", "patch", "steer"], "amounts": [1.0], "folds": 4}},
        {"tasks": _TASKS, "spec": {"target": "label", "folds": 2, "control_draws": 1}},
    ),
    example={
        "set": "domains", "limit": 24,
        "spec": {"layers": [4, 15, 26], "control_draws": 1, "random_draws": 2, "edits": ["ablate"], "folds": 4,
                 "applied_texts": 4},
    },
)  # fmt: skip
