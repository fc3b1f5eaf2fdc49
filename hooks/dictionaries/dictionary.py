"""A sparse dictionary as it is used: an autoencoder or transcoder, with the tensor names of SAELens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from hooks.errors import InputError, unknown
from kernels.sparse_encode import SparseCodes, sparse_encode

ARCHITECTURES = ("standard", "gated", "topk", "jumprelu")
TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold", "b_gate", "b_mag", "r_mag", "W_skip")
NORM_FLOOR = 1e-5
"""What layer_norm adds to the standard deviation."""


@dataclass(frozen=True, eq=False)
class Dictionary:
    """x [row d_in] → few active latents of d_sae → ŷ [row d_out]; METHODS' formulas, SAELens' conventions.

    Attributes:
        architecture: one of ARCHITECTURES; dictionaries trained with BatchTopK or nested prefixes are jumprelu here.
        W_enc: [d_in d_sae].
        W_dec: [d_sae d_out].
        b_dec: [d_out].
        b_enc: [d_sae]; gated has b_gate, b_mag and r_mag [d_sae] instead.
        threshold: [d_sae] of jumprelu, on the pre-activation.
        k: active latents a row, of topk.
        W_skip: [d_out d_in], a linear way past the latents (transcoders).
        centred: b_dec is subtracted from what is encoded.
        layer_norm: the input is centred and divided by its standard deviation (unbiased), and the output gets it back.
        rescaled: topk chooses by z·‖W_dec‖, and decodes with W_dec/‖W_dec‖.
        prefixes: ends of nested prefixes that are dictionaries of their own; () for none.
    """

    architecture: str
    W_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    b_enc: Tensor | None = None
    threshold: Tensor | None = None
    b_gate: Tensor | None = None
    b_mag: Tensor | None = None
    r_mag: Tensor | None = None
    W_skip: Tensor | None = None
    k: int | None = None
    centred: bool = True
    layer_norm: bool = False
    rescaled: bool = False
    prefixes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Raise InputError for an unknown architecture, tensors that are missing or do not fit, NaN or infinity."""
        if self.architecture not in ARCHITECTURES:
            raise unknown("dictionary architecture", self.architecture, ARCHITECTURES)
        own = {"gated": ("b_gate", "b_mag", "r_mag"), "jumprelu": ("b_enc", "threshold")}
        if absent := [one for one in own.get(self.architecture, ("b_enc",)) if getattr(self, one) is None]:
            raise InputError(f"a {self.architecture} dictionary needs {' and '.join(absent)}")
        d_in, d_sae = self.W_enc.shape
        wanted = {"W_enc": (d_in, d_sae), "W_dec": (d_sae, self.d_out), "b_dec": (self.d_out,),
                  "W_skip": (self.d_out, d_in)}  # fmt: skip
        for name, one in self.tensors().items():
            if tuple(one.shape) != wanted.get(name, (d_sae,)):
                raise InputError(f"{name} must be {wanted.get(name, (d_sae,))}, got {tuple(one.shape)}")
            if not bool(one.isfinite().all()):
                raise InputError(
                    f"{name} has NaN or infinity in {int((~one.isfinite()).sum())} of {one.numel()} places"
                )
        if self.architecture == "topk" and not 1 <= (self.k or 0) <= d_sae:
            raise InputError(f"a topk dictionary needs k from 1 to d_sae = {d_sae}, got {self.k}")
        if self.centred and d_in != self.d_out:
            raise InputError(f"b_dec [{self.d_out}] cannot be subtracted from an input of {d_in} channels")

    @property
    def d_in(self) -> int:
        """Channels read."""
        return self.W_enc.shape[0]

    @property
    def d_sae(self) -> int:
        """Latents."""
        return self.W_enc.shape[1]

    @property
    def d_out(self) -> int:
        """Channels written."""
        return self.W_dec.shape[1]

    def tensors(self) -> dict[str, Tensor]:
        """Those that this architecture has, by SAELens' names."""
        given = {name: getattr(self, name) for name in TENSORS}
        return {name: one for name, one in given.items() if one is not None}

    def settings(self) -> dict[str, object]:
        """Everything but the tensors, as plain JSON."""
        told = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in TENSORS}
        return told | {"prefixes": list(self.prefixes)}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, object]) -> Dictionary:
        """From `tensors()` and `settings()`. Raises InputError for what does not fit."""
        known = {one.name for one in fields(cls)}
        if extra := sorted((set(tensors) | set(settings)) - known):
            raise InputError(f"a dictionary has no {', '.join(extra)}")
        if absent := sorted({"architecture", "W_enc", "W_dec", "b_dec"} - set(tensors) - set(settings)):
            raise InputError(f"a dictionary needs {', '.join(absent)}")
        told = dict(settings)
        told["prefixes"] = tuple(told.get("prefixes") or ())  # type: ignore[arg-type]
        return cls(**{**told, **tensors})  # type: ignore[arg-type]

    def prefix(self, end: int) -> Dictionary:
        """The dictionary of its first `end` latents alone."""
        if not 1 <= end <= self.d_sae:
            raise InputError(f"prefix {end}: this dictionary has {self.d_sae} latents")
        cut = {name: one if name in ("b_dec", "W_skip") else one[..., :end] if name == "W_enc" else one[:end]
               for name, one in self.tensors().items()}  # fmt: skip
        shorter = self.settings() | {"prefixes": [one for one in self.prefixes if one <= end]}
        return Dictionary.of(cut, shorter | ({} if self.k is None else {"k": min(self.k, end)}))

    @cached_property
    def form(self) -> tuple[Tensor, Tensor, str, Tensor | None]:
        """Encoder, bias, activation and threshold of the one product that encoding is.

        Gated, with s = exp(r_mag): [g > 0]·relu(p) = p·[p > max(0, b_mag − s·b_gate)], p = s·plain + b_mag.
        """
        if self.architecture == "gated":
            assert self.b_gate is not None
            assert self.b_mag is not None
            assert self.r_mag is not None
            scale = self.r_mag.exp()
            return self.W_enc * scale, self.b_mag, "jumprelu", torch.relu(self.b_mag - scale * self.b_gate)
        assert self.b_enc is not None
        if self.architecture == "jumprelu":
            assert self.threshold is not None
            # SAELens' jumprelu is relu(z)·[z > θ]: a threshold below 0 acts as 0
            return self.W_enc, self.b_enc, "jumprelu", self.threshold.clamp_min(0)
        if self.rescaled:
            norms = self.W_dec.norm(dim=1)
            return self.W_enc * norms, self.b_enc * norms, "topk", None
        return self.W_enc, self.b_enc, "topk" if self.architecture == "topk" else "relu", None

    @cached_property
    def directions(self) -> Tensor:
        """[d_sae d_out] what one unit of each latent writes."""
        return self.W_dec / self.W_dec.norm(dim=1, keepdim=True).clamp_min(1e-20) if self.rescaled else self.W_dec

    def encode(self, x: Tensor) -> SparseCodes:
        """Active latents of x [row d_in]. Raises InputError for another width, NaN or infinity."""
        if x.ndim != 2 or x.shape[1] != self.d_in:
            raise InputError(f"this dictionary reads [row {self.d_in}], got {tuple(x.shape)}")
        encoder, bias, activation, threshold = self.form
        read = self._normed(x)[0]
        try:
            return sparse_encode(read - self.b_dec if self.centred else read, encoder, bias, activation=activation,
                                 k=self.k if activation == "topk" else None, threshold=threshold)  # fmt: skip
        except ValueError as error:
            raise InputError(f"the dictionary cannot encode this: {error}") from error

    def decode(self, codes: SparseCodes, x: Tensor | None = None) -> Tensor:
        """ŷ [row d_out] of codes; with a skip or a layer norm `x` [row d_in] is needed, else InputError."""
        if x is None and (self.W_skip is not None or self.layer_norm):
            raise InputError("this dictionary has a skip or a layer norm: decoding needs the input too")
        made = embedding_bag(codes.index, self.directions, codes.row_pointer, per_sample_weights=codes.value,
                             mode="sum", include_last_offset=True) + self.b_dec  # fmt: skip
        if x is None:
            return made
        read, mean, deviation = self._normed(x)
        if self.W_skip is not None:
            made = made + read @ self.W_skip.T
        return made * deviation + mean if self.layer_norm else made

    def reconstruct(self, x: Tensor) -> Tensor:
        """ŷ [… d_out] of x [… d_in]."""
        rows = x.reshape(-1, x.shape[-1]).float()
        return self.decode(self.encode(rows), rows).view(*x.shape[:-1], self.d_out)

    def _normed(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is encoded, and the mean and deviation that were taken out."""
        if not self.layer_norm:
            return x.float(), x.new_zeros(()).float(), x.new_ones(()).float()
        mean = x.float().mean(dim=-1, keepdim=True)
        deviation = (x.float() - mean).std(dim=-1, keepdim=True)
        return (x.float() - mean) / (deviation + NORM_FLOOR), mean, deviation
