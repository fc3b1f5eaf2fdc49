"""Bigram-Backcopy laboratory: do attention sinks, drained values and residual peaks form in training, and when not?

Characters follow one another as in a text (bigrams), but after a few trigger characters comes again the character
before the trigger. A head is needed at triggers alone; everywhere else it would only disturb, and a softmax head that
wants to do nothing has to put its weight somewhere: on the first token, whose value then shrinks. One to three layers
are trained here, on one thread, and measured on the way; then heads are set to the sink, or left out.

Source: Guo et al. 2024, "Active-Dormant Attention Heads" (task, measures, the two variants; METHODS § 3).

Ours: the bigrams are counted on the text that is given (one is shipped), not on Shakespeare, and there are no
delimiter tokens. The models are Llamas (rotary positions, normalisation before each part, gated MLP) of width 64 in
place of 256, and batch, rate and steps are made for minutes on a CPU; gradients are clipped. Risks are cross-entropies
against the law itself, all tokens at once, so they scatter less than losses on drawn tokens. The first token is
neither trigger nor other. Each token is probed after up to 16 beginnings rather than one. ReLU attention is max(0,
q·k/√d), not divided by anything. SGD has momentum 0.9. The model that the page has loaded plays no part: only the text
is used, and every run trains its own models.

Kept checkpoints are ordinary Llamas that every page can load; type <s> first, as in training. With ReLU attention none
is kept: no supported family computes it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import torch
from pydantic import Field

from analyses._contract import Analysis, Context, Frames, Inputs, Spec, shown
from analyses.backcopy_lab.figures import figures, names
from analyses.backcopy_lab.measuring import Tested, draw_tested, head_rows, residual_rows, risk_rows, see
from analyses.backcopy_lab.tables import COLUMNS, table, task_table
from analyses.backcopy_lab.task import Task, read_task
from analyses.backcopy_lab.text import TEXT
from analyses.backcopy_lab.training import kept_steps, one_thread, spread, train
from analyses.backcopy_lab.trying import intervention_rows, probe_rows
from hooks.checkpoints.backcopy import make_backcopy, save_backcopy
from hooks.errors import InputError

if TYPE_CHECKING:
    from hooks.model import Model

Rows = dict[str, list[dict[str, object]]]
TRAINED = 0.95
"""Share of the progress bar that training takes."""


class LabSpec(Spec):
    """Options of the Bigram-Backcopy laboratory."""

    layers: int = Field(1, ge=1, le=3, description="layers of the model that is trained")
    heads: int = Field(1, ge=1, le=8, description="heads of every layer; they share the width")
    model_width: int = Field(64, ge=8, le=256, description="width of the residual stream and of the MLPs")
    attention: Literal["softmax", "relu"] = Field("softmax", description="relu: max(0, q·k/√d), rows sum to anything")
    optimiser: Literal["adamw", "sgd"] = Field("adamw", description="sgd has momentum 0.9")
    rate: float | None = Field(
        None, gt=0, le=10, description="learning rate; none given: 0.01 for adamw (relu 0.003), 0.3 for sgd (relu 0.1)"
    )
    triggers: int = Field(3, ge=1, description="the most frequent characters, this many, are triggers")
    characters: int = Field(65, ge=4, le=500, description="characters kept at most; rarer ones leave the text")
    length: int = Field(64, ge=8, le=512, description="tokens of a sequence, the first token included")
    batch: int = Field(16, ge=1, le=512, description="sequences a step")
    steps: int = Field(1000, ge=1, le=100_000, description="training steps")
    points: int = Field(30, ge=2, le=200, description="measurements on the way, denser at the beginning")
    tested: int = Field(64, ge=10, le=1024, description="fresh sequences that every measurement reads")
    kept: int = Field(5, ge=0, le=20, description="softmax checkpoints to keep, evenly apart, the last among them")
    draw_seed: int = Field(0, ge=0, description="seed of the weights and of every drawn sequence")
    shown_layer: int | None = shown(None, ge=0, description="head to draw probes and interventions of; none given: "
                                    "the one whose sink differs most between triggers and others")  # fmt: skip
    shown_head: int | None = shown(None, ge=0, description="its head; goes with shown_layer")


def run(_model: Model, inputs: Inputs, spec: LabSpec, context: Context) -> Frames:
    """Train one model and measure it; see `ANALYSIS.columns` for what comes back.

    Raises:
        InputError: a text with too few characters, too many triggers, heads that do not divide the width, a training
            that goes astray.
    """
    task = _checked(inputs, spec)
    module = make_backcopy(
        len(task.characters), layers=spec.layers, heads=spec.heads, width=spec.model_width, length=spec.length,
        seed=spec.draw_seed, attention=spec.attention,
    )  # fmt: skip
    random = torch.Generator().manual_seed(spec.draw_seed)
    tested = draw_tested(task, spec.tested, spec.length, torch.Generator().manual_seed(spec.draw_seed + 1))
    rows: Rows = {name: [] for name in COLUMNS}
    measured, kept = set(spread(spec.steps, spec.points)), set(kept_steps(spec.steps, spec.kept))

    def at(step: int) -> None:
        if step in measured:
            _measure(module, tested, step, rows, context)
        if step in kept and spec.attention == "softmax":
            save = partial(_save, module, task, step, spec)
            rows["checkpoints"].append({"step": step, "model": context.keep_model(f"step-{step:05d}", save)})

    def progress(fraction: float, words: str) -> None:
        context.progress(TRAINED * fraction, words)

    progress(0.0, f"{len(task.characters)} characters")
    with one_thread():
        train(module, task, spec, random, progress, at)
        context.progress(TRAINED, "probing every token")
        rows["probes"] = probe_rows(module, task, spec.length, random)
        for more in intervention_rows(module, tested):
            context.progress(TRAINED, "editing heads")
            rows["interventions"] += more
    if spec.attention == "relu":
        rows["probes"] = [row | {"active": None} for row in rows["probes"]]
    return {name: table(name, found) for name, found in rows.items()} | {"task": task_table(task)}


def _measure(module: Any, tested: Tested, step: int, rows: Rows, context: Context) -> None:
    """One measurement, and the curves so far for whoever watches."""
    seen = see(module, tested.tokens)
    rows["risks"] += risk_rows(step, tested, seen)
    rows["heads"] += head_rows(step, tested, seen)
    rows["residuals"] += residual_rows(step, seen)
    risks = table("risks", rows["risks"]).pivot(index="step", columns="kind", values="risk").reset_index()
    context.show("training", risks.rename(columns={"triggers": "risk on triggers", "others": "risk on others"}))
    heads = table("heads", rows["heads"]).groupby("step")
    # Of several heads the extremes: the deepest sink and drain that any of them has.
    live = pd.DataFrame({"sink": heads["sink_others"].max(), "sink on triggers": heads["sink_triggers"].min(),
                         "drain": heads["drain"].min(),
                         "peak": table("residuals", rows["residuals"]).groupby("step")["peak"].max()})  # fmt: skip
    context.show("sink, drain, peak", live.reset_index())


def _save(module: Any, task: Task, step: int, spec: LabSpec, folder: Any) -> Any:
    name = f"Bigram-Backcopy, {spec.layers} layers, {spec.optimiser}, step {step}"
    source = f"trained here for {step} of {spec.steps} steps, seed {spec.draw_seed}"
    return save_backcopy(module, task.characters, folder, name, source)


def check(_model: Model, inputs: Inputs, spec: LabSpec) -> None:
    """Refuse what cannot be trained, and a head to draw that the model will not have."""
    _checked(inputs, spec)
    for name, count in (("layer", spec.layers), ("head", spec.heads)):
        chosen = getattr(spec, f"shown_{name}")
        if chosen is not None and chosen >= count:
            raise InputError(f"option shown_{name} = {chosen}: the model that is trained has {name}s 0 to {count - 1}")
    if (spec.shown_layer is None) != (spec.shown_head is None):
        raise InputError("options shown_layer and shown_head go together: give both, or neither")


def _checked(inputs: Inputs, spec: LabSpec) -> Task:
    each, left = divmod(spec.model_width, spec.heads)
    if left or each % 2:
        raise InputError(
            f"option model_width = {spec.model_width} does not give {spec.heads} heads of an even size (rotary "
            f"positions turn pairs); choose a multiple of {2 * spec.heads}"
        )
    return read_task(inputs.texts or inputs.read, spec.characters, spec.triggers)


ANALYSIS = Analysis(
    name="backcopy_lab",
    title="Bigram-Backcopy laboratory",
    family="Attention",
    question="Do attention sinks, drained values and residual peaks form in training, and what removes them?",
    meaning="A head that is needed at triggers alone rests elsewhere, its weight on the first token: the sink.",
    paper="Guo et al. 2024 (Active-Dormant Attention Heads)",
    needs=("texts", "prompt"),
    version=2,
    by_text=True,
    spec=LabSpec,
    run=run,
    figures=figures,
    columns=COLUMNS,
    check=check,
    pictures=names,
    trial={"spec": {"model_width": 8, "length": 12, "batch": 4, "steps": 6, "points": 3, "tested": 10, "kept": 1}},
    example={"prompt": TEXT, "spec": {"steps": 300, "points": 16, "kept": 2}},
)
