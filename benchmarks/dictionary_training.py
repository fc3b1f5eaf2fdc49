"""Training dictionaries beside SAELens' trainer: the same activations, batch and steps, in turns; loss beside speed.

Rows of real activations are scaled so that their mean norm is √channels, as both do by themselves, so that no time goes
into finding the factor. Both have the same rates, rising and falling. CPU time is told beside the clock's: a machine
with other work slows both, and CPU time less so. SAELens' `use_sparse_activations` fails in this torch, and is off, as
it is unless asked for.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from analyses._dictionaries.corpus import corpus_of_texts
from analyses._dictionaries.harvest import harvest
from analyses._dictionaries.quality import Quality, quality
from analyses._dictionaries.training import COOL, WARM, Schedule, Training
from benchmarks._harness import Row, in_turns
from benchmarks._peers import Peer, peer
from data.dictionary_files import read_saelens
from data.prompt_sets import generate
from hooks.load import load
from hooks.progress import silent
from hooks.sites import Site
from kernels.dictionary_step import Rule

SITE, TEXTS, LENGTH, HELD = Site(14, "resid_post"), 396, 128, 4096
AT = {"hook_name": SITE.name, "model_name": "smollm2-135m"}
BATCH, STEPS, ROUNDS, SEED, RATE = 1024, 120, 6, 0, 4e-3
DEAD_AFTER, PEER_DEAD_AFTER = 20, 1000
"""Batches without firing; SAELens' default, beyond the end, so that it has no auxiliary loss to compute."""
ACTIVE, GOAL = 32, 2.0


@dataclass(frozen=True)
class Contest:
    """One row: what is trained, and what each side is told."""

    architecture: str
    latents: int
    rule: dict[str, Any]
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """As the row is called."""
        k = f", k = {ACTIVE}" if self.architecture == "topk" else ""
        return f"train a dictionary, {self.architecture}, 576 channels, {self.latents:,} latents{k}"


TOPK: dict[str, Any] = {"rule": {"k": ACTIVE, "auxiliary": 1 / 32}, "settings": {"k": ACTIVE}}
CONTESTS = (
    Contest("topk", 2304, **TOPK),
    Contest("topk", 4096, **TOPK),
    Contest("standard", 2304, {"sparsity": 0.5, "auxiliary": 0.0}, {"l1_coefficient": 0.5}),
    Contest(
        "jumprelu", 2304, {"k": ACTIVE, "sparsity": 1.0, "bandwidth": 0.2, "auxiliary": 1 / 32},
        {"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": float(ACTIVE), "jumprelu_bandwidth": 0.2,
         "jumprelu_init_threshold": 0.1, "l0_coefficient": 1 / (2 * ACTIVE)},
    ),
)  # fmt: skip
"""λ(L0/k − 1)² here is (2/k)·(λ/2k)·(L0 − k)² there, of each row rather than of the batch's mean."""


def rows(workspace: Path) -> Iterator[Row]:
    """A row for each contest."""
    folder = Path(tempfile.mkdtemp(prefix="bench-dictionaries-", dir=workspace))
    try:
        x, held = activations(workspace)
        save_file({"x": x}, folder / "x.safetensors")
        with peer("saelens", workspace) as saelens:
            for contest in CONTESTS:
                yield contested(contest, x, held, saelens, folder)
    finally:
        shutil.rmtree(folder)


def activations(workspace: Path) -> tuple[Tensor, Tensor]:
    """[row channel] to train on and to measure on, of different texts."""
    model = load("smollm2-135m", workspace)
    texts = generate("domains", model, limit=TEXTS, seed=SEED).texts
    x = harvest(model, corpus_of_texts(model, texts, LENGTH), [SITE], silent).values[SITE]
    x = x * (x.shape[1] ** 0.5 / float(x.norm(dim=1).mean()))
    return x[:-HELD].contiguous(), x[-HELD:].contiguous()


def contested(contest: Contest, x: Tensor, held: Tensor, saelens: Peer, folder: Path) -> Row:
    """Both train in turns, a share of the steps at a time; what they have learned is measured on held-out rows."""
    rule = Rule(contest.architecture, **contest.rule)
    mine = Training(x, x, rule, contest.latents, Schedule(STEPS, BATCH, RATE, DEAD_AFTER * BATCH, SEED))
    saelens.ask(
        {"do": "train", "name": "it", "x": str(folder / "x.safetensors"), "architecture": contest.architecture,
         "settings": contest.settings | {"d_in": x.shape[1], "d_sae": contest.latents, "metadata": AT},
         "batch": BATCH, "seed": SEED, "total": STEPS * BATCH, "rate": RATE, "warm": WARM, "cool": COOL,
         "window": PEER_DEAD_AFTER, "threads": torch.get_num_threads()}
    )  # fmt: skip
    run, part, cpu = mine.run(), STEPS // ROUNDS, {"ours": 0.0, "peer": 0.0}

    def ours() -> float:
        started, before = time.perf_counter(), time.process_time()
        for _ in range(part):
            next(run)
        cpu["ours"] += time.process_time() - before
        return time.perf_counter() - started

    def theirs() -> float:
        cpu["until"] = cpu.get("until", 0.0) + part * BATCH
        said = saelens.ask({"do": "go", "name": "it", "until": int(cpu["until"])})
        cpu["peer"] += said["cpu"]
        return float(said["seconds"])

    # the warm-up of `in_turns` is the first round of training
    times = in_turns({"ours": ours, "peer": theirs}, ROUNDS - 1)
    saelens.ask({"do": "save", "name": "it", "folder": str(folder / "sae")})
    found = {"ours": quality(mine.dictionary(), held, held),
             "peer": quality(read_saelens(folder / "sae").dictionary, held, held)}  # fmt: skip
    shutil.rmtree(folder / "sae")
    return row(contest, {side: part * BATCH / seconds for side, seconds in times.items()}, cpu, found)


def row(contest: Contest, speed: dict[str, float], cpu: dict[str, float], found: dict[str, Quality]) -> Row:
    """Tokens a second, and in the note what was learned: a faster training of a worse dictionary is none."""
    told = "; ".join(
        f"{side}: {one.explained:.4f} of held-out variance, L0 {one.active:.1f}, "
        f"{float((one.density == 0).float().mean()):.0%} never active, {1e3 * cpu[side] / STEPS:.0f} ms CPU a step"
        for side, one in found.items()
    )
    ratio = speed["ours"] / speed["peer"]
    met = ratio >= GOAL and found["ours"].explained >= found["peer"].explained
    note = f"{STEPS} steps of {BATCH} rows; {told}; load {os.getloadavg()[0]:.1f}"
    return Row(contest.name, speed["ours"], speed["peer"], ratio, f"≥ {GOAL:g}× at equal or better loss", met,
               "tokens/s", None, note)  # fmt: skip
