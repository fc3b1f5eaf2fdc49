"""Training of `toy:induction`: repeated random tokens, until copying from the context works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


def train_induction(model: Any, progress: Progress) -> None:
    """Train in place on repeated random sequences of 64 tokens with periods of 4 to 32, from one seeded generator.

    Raises InputError when fewer than 90% of the repeated tokens are predicted at the end.
    """
    import torch

    random = torch.Generator().manual_seed(_SEED)
    optimiser = torch.optim.AdamW(model.parameters(), lr=_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    model.train()
    with torch.enable_grad(), _one_thread():
        for step in range(_MAX_STEPS):
            for group in optimiser.param_groups:
                group["lr"] = _RATE * min((step + 1) / _WARM_UP, 1.0, 2 * (1 - step / _MAX_STEPS))
            tokens, period = repeated_tokens(model.config.vocab_size, _BATCH, _LENGTH, random)
            loss = _copy_loss(model, tokens, period)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            if step % _CHECK_EVERY == _CHECK_EVERY - 1:
                accuracy = copying_accuracy(model)
                progress(min(step / _MAX_STEPS, 0.99), f"training: copies {accuracy:.0%} after {step + 1} steps")
                if accuracy >= _STOP_AT:
                    break
    model.eval()
    model.requires_grad_(True)
    accuracy = copying_accuracy(model, seed=_SEED + 2)
    if not accuracy >= _WANTED:
        raise InputError(
            f"toy:induction copies only {accuracy:.0%} of repeated tokens after training, "
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


def copying_accuracy(model: Any, seed: int = _SEED + 1) -> float:
    """Share of repeated tokens that the model ranks first, on fresh sequences of eight periods."""
    import torch

    random = torch.Generator().manual_seed(seed)
    hits = []
    with torch.no_grad():
        for _ in range(8):
            tokens, period = repeated_tokens(model.config.vocab_size, 16, _LENGTH, random)
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
