"""Training of the copying toys: repeated random tokens, until copying from the context works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hooks.errors import InputError
from hooks.progress import Progress

_SEED = 1
_MAX_STEPS = 700
_BATCH = 32
_LENGTH = 64
_RATE = 3e-3
_WARM_UP = 50
_WANTED = 0.9
_CHECK_EVERY = 50
_STOP_AT = 0.97


@dataclass(frozen=True)
class Plan:
    """A training: most steps, sequences a step, their tokens, the highest rate, and the accuracy that ends it."""

    steps: int
    batch: int
    length: int
    rate: float
    stop_at: float


def train_induction(model: Any, progress: Progress) -> None:
    """Train in place on repeated random sequences of 64 tokens with periods of 4 to 32, from one seeded generator.

    Raises InputError when fewer than 90% of the repeated tokens are predicted at the end.
    """
    _train(model, "toy:induction", progress, Plan(_MAX_STEPS, _BATCH, _LENGTH, _RATE, _STOP_AT))


def train_attention_only(model: Any, progress: Progress) -> None:
    """Train in place, as `train_induction` does, with MLPs that write nothing: their weights are zero.

    Only attention can then copy: a head of the first layer marks every token with the one before it, and a head of the
    second finds the token after the one that is read (Elhage et al. 2021). Raises InputError as `train_induction` does.
    """
    import torch

    mlps = [weight for name, weight in model.named_parameters() if ".mlp." in name]
    with torch.no_grad():
        for weight in mlps:
            weight.zero_()
            weight.requires_grad_(False)
    _train(model, "toy:attention-only", progress, Plan(600, 24, 64, 4e-3, 0.93))


def _train(model: Any, name: str, progress: Progress, plan: Plan) -> None:
    import torch

    random = torch.Generator().manual_seed(_SEED)
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.0)
    model.train()
    with torch.enable_grad(), _one_thread():
        for step in range(plan.steps):
            for group in optimiser.param_groups:
                group["lr"] = plan.rate * min((step + 1) / _WARM_UP, 1.0, 2 * (1 - step / plan.steps))
            tokens, period = repeated_tokens(model.config.vocab_size, plan.batch, plan.length, random)
            loss = _copy_loss(model, tokens, period)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            if step % _CHECK_EVERY == _CHECK_EVERY - 1:
                accuracy = copying_accuracy(model, length=plan.length)
                progress(min(step / plan.steps, 0.99), f"training: copies {accuracy:.0%} after {step + 1} steps")
                if accuracy >= plan.stop_at:
                    break
    model.eval()
    model.requires_grad_(True)
    accuracy = copying_accuracy(model, seed=_SEED + 2, length=plan.length)
    if not accuracy >= _WANTED:
        raise InputError(
            f"{name} copies only {accuracy:.0%} of repeated tokens after training, "
            f"{_WANTED:.0%} are wanted: this machine's arithmetic differs, please report it"
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread inside: sums then run in one order on every machine, and a busy machine does not stall them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def repeated_tokens(n_tokens: int, batch: int, length: int, random: Any) -> tuple[Any, int]:
    """([batch length] token ids, period): each row repeats its own random tokens with one period for the batch."""
    import torch

    period = int(torch.randint(4, length // 2 + 1, (1,), generator=random))
    # Distinct within a period, so that what comes next is never ambiguous; 0 is the end token.
    first = torch.stack([1 + torch.randperm(n_tokens - 1, generator=random)[:period] for _ in range(batch)])
    return first.repeat(1, length // period + 1)[:, :length], period


def copying_accuracy(model: Any, seed: int = _SEED + 1, length: int = _LENGTH) -> float:
    """Share of repeated tokens that the model ranks first, on fresh sequences of eight periods."""
    import torch

    random = torch.Generator().manual_seed(seed)
    hits = []
    with torch.no_grad():
        for _ in range(8):
            tokens, period = repeated_tokens(model.config.vocab_size, 16, length, random)
            guesses = model(tokens, use_cache=False).logits[:, period - 1 : -1].argmax(-1)
            # The first repeated token follows one that was seen once only at the very end: skip it.
            hits.append((guesses[:, 1:] == tokens[:, period + 1 :]).float().mean())
    return float(torch.stack(hits).mean())


def _copy_loss(model: Any, tokens: Any, period: int) -> Any:
    """Mean cross-entropy of the tokens that can be copied: those a period after their first occurrence."""
    import torch

    copied = torch.arange(period, tokens.shape[1] - 1)
    logits = model(tokens, use_cache=False, logits_to_keep=copied).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, period + 1 :].flatten())
