"""The same for topk, batch_topk and matryoshka, without the dense activations: gradients by hand, over kept codes.

With kept codes (row r, latent j, value v), and g_r = Σ over prefixes that hold j of −2(y − ŷ)_r/(B·prefixes):

    ŷ_r = Σ_j v·D_j + …          ∂D_j = Σ_r v·g_r          ∂v = g_r·D_j          ∂E_j = Σ_r ∂v·(x_r − b)
    ∂b_enc_j = Σ_r ∂v            ∂b_dec = Σ_r g_r − Eᵀ·∂b_enc (if centred)       ∂Skip = gᵀx

so that only z and AuxK's few columns are dense: one product of five.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from kernels.dictionary_step.naive import Step, largest_of_rows
from kernels.dictionary_step.rule import COUNTED, Parameters, Rule, checked


@dataclass(frozen=True, eq=False)
class Kept:
    """Codes by row: `start` [row + 1], `latent` [kept] and `value` [kept]."""

    start: Tensor
    latent: Tensor
    value: Tensor

    def rows(self) -> Tensor:
        """[kept], the row of each."""
        counts = self.start.diff()
        return torch.arange(len(counts), device=counts.device).repeat_interleave(counts)

    def within(self, first: int, last: int) -> Kept:
        """Those of latents from `first` to `last`, the last left out."""
        some = (self.latent >= first) & (self.latent < last)
        before = torch.cat([self.start.new_zeros(1), some.cumsum(0)])
        return Kept(before[self.start], self.latent[some], self.value[some])


@torch.no_grad()
def dictionary_step(parameters: Parameters, x: Tensor, target: Tensor, rule: Rule, dead: Tensor | None = None) -> Step:
    """Arguments, results and errors of `naive.dictionary_step`. Raises ValueError for another architecture too."""
    if rule.architecture not in COUNTED:
        raise ValueError(f"the sparse version knows {', '.join(COUNTED)}, not {rule.architecture}")
    checked(parameters, x, target, rule, dead)
    encoder, decoder, n = parameters["encoder"], parameters["decoder"], len(x)
    centred = x - parameters["b_dec"] if rule.centred else x
    z = torch.addmm(parameters["b_enc"], centred, encoder.T)
    kept = kept_codes(z, rule)
    rest = parameters["b_dec"] + (x @ parameters["skip"].T if "skip" in parameters else 0.0)
    ends = rule.prefixes or (len(encoder),)
    parts = (
        [kept.within(first, last) for first, last in zip((0, *ends), ends, strict=False)] if rule.prefixes else [kept]
    )
    errors, made = [], rest.expand(n, -1)
    for part in parts:
        made = made + weighted_sums(part.start, part.latent, part.value, decoder)
        errors.append(made - target)
    pulls = [2 / (n * len(ends)) * one for one in errors]
    # each code is pulled by every prefix that holds it: its own and all longer ones
    for place in reversed(range(len(pulls) - 1)):
        pulls[place] = pulls[place] + pulls[place + 1]
    gradients = {name: torch.zeros_like(one) for name, one in parameters.items()}
    for part, pull in zip(parts, pulls, strict=True):
        pull_codes(gradients, part, pull, centred, decoder)
    auxiliary = 0.0
    if rule.auxiliary and dead is not None and bool(dead.any()):
        auxiliary = revive(gradients, z, errors[-1], centred, decoder, rule, dead)
    gradients["b_dec"] += pulls[0].sum(dim=0)
    if rule.centred:
        gradients["b_dec"] -= gradients["b_enc"] @ encoder
    if "skip" in parameters:
        gradients["skip"] += pulls[0].T @ x
    error = float(torch.stack([one.square().sum() for one in errors]).mean()) / n
    fired = torch.zeros(len(encoder), dtype=torch.bool, device=x.device)
    fired[kept.latent] = True
    smallest = float(kept.value.min()) if len(kept.value) else 0.0
    losses = {"reconstruction": error, "sparsity": 0.0, "auxiliary": auxiliary}
    return Step(losses, gradients, fired, len(kept.value) / n, smallest, "sparse")


def kept_codes(z: Tensor, rule: Rule) -> Kept:
    """The positive ones among the largest, by row and within a row by latent."""
    if rule.architecture == "topk":
        value, latent = z.topk(rule.k, dim=-1, sorted=False)
        row = torch.arange(len(z), device=z.device)[:, None].expand_as(latent)
        place, value = (row * z.shape[1] + latent).flatten(), value.flatten()
    else:
        value, place = z.flatten().topk(rule.k * len(z), sorted=False)
    place, order = place[value > 0].sort()
    value = value[value > 0][order]
    counts = torch.bincount(place // z.shape[1], minlength=len(z))
    return Kept(torch.cat([counts.new_zeros(1), counts.cumsum(0)]), place % z.shape[1], value)


def weighted_sums(start: Tensor, index: Tensor, weight: Tensor, table: Tensor) -> Tensor:
    """[bag d]: the weighted sum of the table's rows that each bag names."""
    return embedding_bag(index, table, start, per_sample_weights=weight, mode="sum", include_last_offset=True)


def pull_codes(gradients: dict[str, Tensor], kept: Kept, pull: Tensor, centred: Tensor, decoder: Tensor) -> None:
    """Add what one group's codes get from `pull` [row d_out], their share of the loss's gradient at ŷ."""
    row, d_sae = kept.rows(), len(decoder)
    towards = _dots(kept, pull, decoder)
    order = kept.latent.to(torch.int32).argsort(stable=True)
    counts = torch.bincount(kept.latent, minlength=d_sae)
    start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    gradients["decoder"] += weighted_sums(start, row[order], kept.value[order], pull)
    gradients["encoder"] += weighted_sums(start, row[order], towards[order], centred)
    gradients["b_enc"] += torch.bincount(kept.latent, weights=towards, minlength=d_sae).to(towards)


def _dots(kept: Kept, pull: Tensor, decoder: Tensor) -> Tensor:
    """[kept]: pull of the row · decoder row of the latent."""
    if pull.device.type != "cpu":
        return torch.linalg.vecdot(pull[kept.rows()], decoder[kept.latent])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls its CSR layout a beta
        places = torch.sparse_csr_tensor(
            kept.start, kept.latent, torch.zeros_like(kept.value), (len(pull), len(decoder)), check_invariants=False
        )
        return torch.sparse.sampled_addmm(places, pull, decoder.T).values()


def revive(
    gradients: dict[str, Tensor], z: Tensor, error: Tensor, centred: Tensor, decoder: Tensor, rule: Rule, dead: Tensor
) -> float:
    """AuxK's loss; its gradients are added. Dense over the dead latents alone."""
    codes = largest_of_rows(z[:, dead], min(rule.k_aux, int(dead.sum())))
    missed = codes @ decoder[dead] + error
    pull = (2 * rule.auxiliary / len(z)) * missed
    towards = (pull @ decoder[dead].T) * (codes > 0)
    gradients["decoder"][dead] += codes.T @ pull
    gradients["encoder"][dead] += towards.T @ centred
    gradients["b_enc"][dead] += towards.sum(dim=0)
    return float(missed.square().sum()) / len(z) * rule.auxiliary
