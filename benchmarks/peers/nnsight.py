"""The residual grid in nnsight, one trace a cell, as its users write it. Runs in an environment of its own.

Reads JSON lines {folder, clean, corrupted, answer, distractor, threads}; answers each with {seconds, grid}.
"""

import json
import sys
import time
from pathlib import Path

# This file is called like the package: without its folder on the path the import finds the package.
sys.path = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).resolve().parent]

import torch  # noqa: E402
from nnsight import TransformersModel  # noqa: E402


@torch.no_grad()
def grid(model, clean, corrupted, answer, distractor):
    """[layer pos] logit differences with resid_pre patched, the clean run included."""
    with model.trace(clean):
        residuals = [layer.input.clone() for layer in model.model.layers].save()
    layers, places = len(residuals), residuals[0].shape[1]
    found = torch.empty(layers, places)
    for layer in range(layers):
        for place in range(places):
            value = residuals[layer][:, place]
            with model.trace(corrupted):
                model.model.layers[layer].input[:, place] = value
                logits = model.output.logits[0, -1].save()
            found[layer, place] = logits[answer] - logits[distractor]
    return found


def main():
    """Answer questions until there are no more."""
    models = {}
    for line in sys.stdin:
        asked = json.loads(line)
        torch.set_num_threads(asked["threads"])
        folder = asked["folder"]
        if folder not in models:
            models[folder] = TransformersModel(folder, task="text-generation", dispatch=True, dtype=torch.float32)
        started = time.perf_counter()
        found = grid(models[folder], asked["clean"], asked["corrupted"], asked["answer"], asked["distractor"])
        print(json.dumps({"seconds": time.perf_counter() - started, "grid": found.tolist()}), flush=True)


main()
