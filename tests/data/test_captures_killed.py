"""A real model captured by processes that are killed at random: nothing durable is lost, nothing is there twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

from data.captures import open_capture
from data.store import Store
from hooks.capture import run_with_cache
from hooks.load import load
from hooks.sites import Site

ROOT = Path(__file__).resolve().parents[2]

CAPTURES_AGAIN = """
import os, sys, time
from pathlib import Path
from data import capture_shards
from hooks.load import load
from hooks.plan import CapturePlan
from hooks.sites import Site
from data.captures import CaptureWriter, Spoken
from data.store import Store
capture_shards.VECTORS_A_COMMIT = 60
folder = Path(sys.argv[1])
model = load("toy:random", Path(sys.argv[2]))
plan = CapturePlan((Site(0, "resid_post"), Site(2, "z")), row_tokens=24)
prompts = {index: [3 + (7 * index + k) % 50 for k in range(1 + index % 7)] for index in range(60)}
def capture():
    with CaptureWriter(Store(folder), "cap", model.identity.as_dict(), plan.as_dict(), shard_bytes=6000) as writer:
        left = {index: ids for index, ids in prompts.items() if index not in writer.done()}
        for pack in plan.packs(model, left):
            spoken = [Spoken(k.index, str(k.index), list(k.token_ids), ["t"] * len(k.token_ids), list(k.positions),
                             list(k.steps)) for k in pack.kept]
            writer.add_pack(spoken, {(s.layer, s.kind): v for s, v in pack.activations.items()}, copy=False)
            print("durable", *sorted(writer.done()), flush=True)
            time.sleep(0.06)
    print("complete", flush=True)
for _ in sys.stdin:  # a process a line, forked so that the model is loaded once
    child = os.fork()
    if not child:
        capture()
        os._exit(0)
    print("process", child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


def test_kills_at_random_moments_lose_nothing_durable_and_double_nothing(tmp_path: Path, models_folder: Path) -> None:
    """One process after another captures a model, each killed after a random while but the last."""
    draw, durable, between, finished = random.Random(0), set[str](), False, False
    words = [sys.executable, "-c", CAPTURES_AGAIN, str(tmp_path), str(models_folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, **pipes, text=True, env=environment) as parent:  # type: ignore[call-overload]
        for turn in range(6):
            parent.stdin.write("go\n")
            parent.stdin.flush()
            lines = iter(lambda: parent.stdout.readline().split(), ["ended"])
            said = [next(lines)]
            if turn < 5:
                # The first two die whenever it comes, the others once something was durable.
                while "process" not in {line[0] for line in said}:
                    said.append(next(lines))
                while turn > 1 and not (said[-1][0] == "durable" and len(said[-1]) > 1) and said[-1] != ["complete"]:
                    said.append(next(lines))
                time.sleep(draw.uniform(0.0, 0.2))
                child = next(int(line[1]) for line in said if line[0] == "process")
                with suppress(ProcessLookupError):  # it may have come to its end
                    os.kill(child, signal.SIGKILL)
                between = between or (said[-1][0] == "durable" and 1 < len(said[-1]) < 61)
            said += list(lines)
            durable |= {index for line in said if line[0] == "durable" for index in line[1:]}
            finished = ["complete"] in said
            # What was reported as durable is there after the kill, once.
            found = Store(tmp_path).query("SELECT prompt FROM prompts")["prompt"].astype(str)
            assert durable <= set(found)
            assert not found.duplicated().any()
    assert finished
    assert between, "no kill came between the first durable prompt and the last; this would prove nothing"
    check_against_plain_runs(tmp_path, models_folder)


def check_against_plain_runs(folder: Path, models_folder: Path) -> None:
    model, reader = load("toy:random", models_folder), open_capture(Store(folder), "cap")
    reader.verify()
    tokens = reader.tokens()
    assert sorted(tokens["prompt"].unique()) == list(range(60))
    assert len(tokens) == sum(1 + index % 7 for index in range(60))
    assert not tokens.duplicated(["prompt", "position"]).any()
    values = reader.layer("resid_post", 0)
    for prompt, rows in tokens.groupby("prompt"):
        alone = run_with_cache(model, torch.tensor([rows["token_id"].tolist()]), [Site(0, "resid_post")])
        expected = alone[Site(0, "resid_post")][0]
        torch.testing.assert_close(values[rows.index.tolist()], expected, atol=1e-5, rtol=1e-5, msg=str(prompt))
