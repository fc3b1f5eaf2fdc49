"""Trust checks: can the numbers of this loaded model be believed? Each check is shown beside every result.

All comparisons are max |Δ log p| over every position and the whole vocabulary, in nats, on one fixed text of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from hooks.errors import Cancelled
from hooks.load import read_module
from hooks.model import Model
from hooks.progress import Progress, silent

Status = Literal["pass", "fail", "note"]

TEXT = "The ferry was late, so Ana counted the 17 boxes again, wrote the number in her green book, and gave it to Tom."
TOLERANCES: dict[str, float] = {"float32": 1e-4, "bfloat16": 1.0, "float16": 0.125}
"""Largest |Δ log p| in nats that doing one computation in another order explains, by number format.

For the two short formats: eight steps of the format at logits between 16 and 32.
"""
LEAST_AGREEMENT = 0.9
"""Share of positions at which a rounded model must still name the same top token as its fp32 weights."""
_PADS = 3


@dataclass(frozen=True)
class Check:
    """The outcome of one trust check; `value` is in `unit`, and `detail` is a sentence for the researcher."""

    name: str
    status: Status
    value: float | None
    unit: str
    detail: str


def examine(model: Model, workspace: Path, progress: Progress = silent) -> tuple[Check, ...]:
    """Run every trust check on a loaded model.

    A check that cannot be carried out fails and says why; NaN fails. A second copy of the weights exists while it is
    compared with, and is freed before the next check.

    Args:
        model: the model as loaded.
        workspace: where its checkpoint is looked up when the model does not know its folder.
        progress: told which check runs; may raise Cancelled.
    """
    checks: dict[str, Callable[[Model, Path], Check]] = {
        "hugging_face_parity": _hugging_face_parity,
        "bridge_parity": _bridge_parity,
        "padding_invariance": _padding_invariance,
        "doubled_bos": _doubled_bos,
        "dtype_drift": _dtype_drift,
        "quantisation": _quantisation,
        "weight_processing": _weight_processing,
    }
    found = []
    for index, (name, check) in enumerate(checks.items()):
        progress(index / len(checks), f"checking {name.replace('_', ' ')}")
        found.append(_carried_out(name, check, model, workspace))
    progress(1.0, "checked")
    return tuple(found)


def doubled_bos(model: Model, ids: Sequence[int]) -> bool:
    """Whether a prompt starts with two beginning-of-sequence tokens, which no model saw in training."""
    bos = model.tokenizer.bos_token_id
    return bos is not None and list(ids[:2]) == [bos, bos]


def log_prob_gap(ours: Tensor, theirs: Tensor) -> float:
    """max |Δ log p| in nats between two [… d_vocab] logits; NaN if either holds one."""
    one, other = (logits.float().log_softmax(dim=-1) for logits in (ours, theirs))
    return float((one - other).abs().max())


def _carried_out(name: str, check: Callable[[Model, Path], Check], model: Model, workspace: Path) -> Check:
    try:
        with torch.no_grad(), model.lock:
            return check(model, workspace)
    except Cancelled:
        raise
    except Exception as error:
        # Whatever went wrong, a check that did not run must be seen as red and must not take the others with it.
        reason = (str(error).splitlines() or [""])[0]
        return Check(name, "fail", None, "", f"The check could not be carried out: {type(error).__name__}: {reason}")


def _tokens(model: Model, spare: int = 0) -> Tensor:
    """[1 pos] ids of our text, as many as the context holds with `spare` more."""
    # Not `model.tokens`, which refuses what is longer than the model reads: a part of the text checks as much.
    return torch.tensor([model.all_ids(TEXT)[: model.geometry.n_ctx - spare]], device=model.device)


@contextmanager
def _second_copy(model: Model, workspace: Path, dtype: str) -> Iterator[Any]:
    """A plain Hugging Face module from the same checkpoint, with its own attention; gone after the block."""
    from hooks.checkpoints import fetch

    folder = model.folder or fetch(model.identity.spec, workspace).folder
    module = read_module(folder, dtype).to(model.device)
    try:
        yield module
    finally:
        # Other frames may still refer to the module: its storage is let go here, whoever does.
        module.to("meta")


def _judged(name: str, gap: float, model: Model, agrees: str, differs: str) -> Check:
    tolerance = TOLERANCES[model.identity.dtype]
    passed = gap <= tolerance
    limit = f"at most {tolerance:g} in {model.identity.dtype}"
    detail = f"{agrees if passed else differs}: max |Δ log p| is {gap:.2g} nats ({limit})."
    return Check(name, "pass" if passed else "fail", gap, "nats", detail)


def _hugging_face_parity(model: Model, workspace: Path) -> Check:
    tokens = _tokens(model)
    with _second_copy(model, workspace, model.identity.dtype) as plain:
        gap = log_prob_gap(model.logits(tokens), plain(tokens, use_cache=False).logits)
    agrees = "The workbench and plain Hugging Face give the same probabilities"
    return _judged("hugging_face_parity", gap, model, agrees, "The workbench and plain Hugging Face disagree")


def _bridge_parity(model: Model, workspace: Path) -> Check:
    tokens = _tokens(model)
    gap = log_prob_gap(model.logits(tokens), model.bridge(tokens, return_type="logits"))
    agrees = "The fast lane and TransformerLens give the same probabilities"
    return _judged("bridge_parity", gap, model, agrees, "The fast lane and TransformerLens disagree")


def _padding_invariance(model: Model, workspace: Path) -> Check:
    tokens = _tokens(model, spare=_PADS)
    length = tokens.shape[1]
    pads = torch.full((1, _PADS), int(model.tokenizer.pad_token_id or 0), device=model.device)
    batch = torch.cat([torch.cat([pads, tokens], dim=1), torch.cat([tokens, pads], dim=1)])
    mask = torch.ones_like(batch)
    mask[0, :_PADS] = 0
    mask[1, length:] = 0
    places = (mask.cumsum(dim=1) - 1).clamp_min(0)
    padded = model.module(batch, attention_mask=mask, position_ids=places, use_cache=False).logits
    own = torch.stack([padded[0, _PADS:], padded[1, :length]])
    gap = log_prob_gap(own, model.logits(tokens).expand_as(own))
    agrees = "Padding a prompt on the left or right does not change its probabilities"
    return _judged("padding_invariance", gap, model, agrees, "Padding changes a prompt's probabilities")


def _doubled_bos(model: Model, workspace: Path) -> Check:
    name, bos, own = "doubled_bos", model.tokenizer.bos_token, model.tokenizer.bos_token_id
    if bos is None:
        return Check(name, "pass", 0.0, "tokens", "The tokenizer has no beginning-of-sequence token to double.")
    typed = model.encode(bos + TEXT)
    count = float(next((place for place, token in enumerate(typed) if token != own), len(typed)))
    if count > 1:
        detail = f"A prompt that starts with {bos} is given {count:.0f} of them, which shifts results; leave it out."
        return Check(name, "fail", count, "tokens", detail)
    if list(model.tokenizer(TEXT)["input_ids"])[:1] == [own]:
        detail = f"The tokenizer can add {bos}; the workbench reads text as typed, so type it once if you want it."
        return Check(name, "note", count, "tokens", detail)
    return Check(name, "pass", count, "tokens", f"Nothing adds {bos} by itself, and a typed one stays single.")


def _dtype_drift(model: Model, workspace: Path) -> Check:
    if model.identity.dtype == "float32":
        return Check("dtype_drift", "pass", 0.0, "nats", "Weights are float32: nothing was rounded.")
    tokens = _tokens(model)
    ours = model.logits(tokens)
    with _second_copy(model, workspace, "float32") as exact:
        theirs = exact(tokens, use_cache=False).logits
    gap = log_prob_gap(ours, theirs)
    agreement = float((ours.argmax(dim=-1) == theirs.argmax(dim=-1)).float().mean())
    status: Status = "note" if gap < float("inf") and agreement >= LEAST_AGREEMENT else "fail"
    moved = f"{model.identity.dtype} moves log p by up to {gap:.2g} nats"
    detail = f"Against float32 weights, {moved} and keeps the top token at {agreement:.0%} of positions."
    return Check("dtype_drift", status, gap, "nats", detail)


def _quantisation(model: Model, workspace: Path) -> Check:
    kind = model.identity.quantisation
    none = "The checkpoint's weights were not quantised."
    some = f"The weights were rounded before we got them ({kind}): results describe the rounded model."
    return Check("quantisation", "note", None, "", none if kind == "none" else some)


def _weight_processing(model: Model, workspace: Path) -> Check:
    kind = model.identity.processing
    none = "Weights are used as the checkpoint holds them: no norm is folded in and nothing is centred."
    return Check("weight_processing", "note", None, "", none if kind == "none" else f"Weights were processed: {kind}.")
