"""SAELens, as its users call it: loads, makes and trains dictionaries. Runs in an environment of its own.

Reads JSON lines and answers each with one. {"do": …} is one of

    load    {folder, x, out}     SAE.load_from_disk in float32; its codes and reconstructions of x go to `out`
    make    {folder, architecture, settings, seed, dtype, x, out}   random numbers, saved by save_model; then as `load`
    train   {name, x, architecture, settings, total, batch, rate, seed, warm, cool, window}   a trainer is made ready
    go      {name, until}                    trains on to `until` samples; answers with the seconds
    save    {name, folder}                   save_inference_model

`x` and `out` are safetensors files with tensors x, codes and made.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ |= {"WANDB_MODE": "disabled", "TQDM_DISABLE": "1"}
sys.path = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).resolve().parent]

import torch  # noqa: E402
from sae_lens import SAE, SAETrainer  # noqa: E402
from sae_lens.config import LoggingConfig, SAETrainerConfig  # noqa: E402
from sae_lens.registry import get_sae_class, get_sae_training_class  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

TRAINERS = {}


@torch.no_grad()
def load(asked):
    """Codes and reconstructions of x by a folder, through SAELens' own loader; heads side by side."""
    sae, x = SAE.load_from_disk(asked["folder"], dtype="float32"), load_file(asked["x"])["x"]
    codes, made = sae.encode(x), sae(x)
    save_file({"codes": codes.contiguous(), "made": made.flatten(1).contiguous()}, asked["out"])
    return {"architecture": sae.cfg.architecture()}


@torch.no_grad()
def make(asked):
    """A dictionary of random numbers through SAELens' own classes."""
    kind, config = get_sae_class(asked["architecture"])
    made = config.from_dict(asked["settings"] | {"architecture": asked["architecture"]})
    sae = kind(made)
    random = torch.Generator().manual_seed(asked["seed"])
    for name, one in sae.named_parameters():
        drawn = torch.randn(one.shape, generator=random) / max(1, one.shape[0] if one.ndim > 1 else 2) ** 0.5
        one.copy_(drawn.abs() if name == "threshold" else drawn)
    sae.to(dtype=getattr(torch, asked["dtype"]))
    sae.save_model(asked["folder"])
    return load(asked)


def batches(x, size, seed):
    """Shuffled rows without end; each epoch is a permutation."""
    random = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(x), generator=random)
        for start in range(0, len(x) - size + 1, size):
            yield x[order[start : start + size]]


def train(asked):
    """A trainer, ready to go."""
    torch.manual_seed(asked["seed"])
    torch.set_num_threads(asked["threads"])
    kind, config = get_sae_training_class(asked["architecture"])
    steps = asked["total"] // asked["batch"]
    told = SAETrainerConfig(
        total_training_samples=asked["total"], train_batch_size_samples=asked["batch"], lr=asked["rate"],
        lr_end=asked["rate"] / 10, lr_warm_up_steps=int(asked["warm"] * steps),
        lr_decay_steps=int(asked["cool"] * steps), dead_feature_window=asked["window"], n_checkpoints=0,
        logger=LoggingConfig(log_to_wandb=False),
    )  # fmt: skip
    x = load_file(asked["x"])["x"]
    made = config.from_dict(asked["settings"] | {"architecture": asked["architecture"]})
    TRAINERS[asked["name"]] = SAETrainer(told, kind(made), batches(x, asked["batch"], asked["seed"]))
    return {"steps": steps}


def go(asked):
    """Seconds of training on."""
    trainer = TRAINERS[asked["name"]]
    trainer.cfg.total_training_samples = asked["until"]
    started, cpu = time.perf_counter(), time.process_time()
    trainer.fit()
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}


def save(asked):
    """The trained dictionary as its users get it."""
    TRAINERS.pop(asked["name"]).sae.save_inference_model(asked["folder"])
    return {"folder": asked["folder"]}


def main():
    """Answer questions until there are no more."""
    for line in sys.stdin:
        asked = json.loads(line)
        found = {"load": load, "make": make, "train": train, "go": go, "save": save}[asked["do"]](asked)
        print(json.dumps(found), flush=True)


main()
