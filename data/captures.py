"""Writing captures: shards first, then their catalogue rows, so that a crash loses only what was not acknowledged."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from data import catalogue
from data.capture_reader import CaptureReader, open_capture
from data.catalogue import SiteKey
from data.failures import translated
from data.shards import DTYPES, Block, joined, write_shard
from data.store import Store
from data.workspace import exclusive
from hooks.errors import InputError, unknown

__all__ = ["CaptureReader", "CaptureWriter", "open_capture"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class _Pending:
    prompt: int
    text: str
    token_ids: list[int]
    tokens: list[str]
    activations: dict[SiteKey, Tensor]


class CaptureWriter:
    """Stores activations of many prompts under one name; use it in a `with` block.

    `plan` is a plain dictionary whose "dtype" (float32, float16 or bfloat16; default float32) is the stored type.
    Opening an existing name continues it and needs the same model and plan. Prompts gather until `shard_bytes` and are
    then committed as one shard; leaving the block, also by an exception, commits the rest. `nonfinite` counts NaN and
    infinities written, which `extents` records per site.
    """

    def __init__(
        self, store: Store, name: str, model: dict[str, Any], plan: dict[str, Any], *, shard_bytes: int = 128 << 20
    ) -> None:
        if not _NAME.fullmatch(name):
            raise InputError(f"capture name {name!r} is not valid: letters, digits, '.', '_' and '-', at most 100")
        self.dtype = str(plan.get("dtype", "float32"))
        if self.dtype not in DTYPES:
            raise unknown("capture dtype", self.dtype, DTYPES)
        self.store, self.name, self.model, self.plan = store, name, model, plan
        self.shard_bytes = shard_bytes
        self.nonfinite = 0
        self._done: dict[int, str] = {}
        self._shapes: dict[SiteKey, tuple[int, ...]] = {}
        self._pending: list[_Pending] = []
        self._pending_bytes = 0
        self._failed = False
        self._held = ExitStack()

    @property
    def folder(self) -> Path:
        """Where the shards lie."""
        return self.store.captures / self.name

    def __enter__(self) -> CaptureWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        busy = f"capture {self.name!r} is being written by another process; wait for it or use another name"
        with ExitStack() as held:
            held.enter_context(exclusive(self.folder / ".lock", block=False, busy=busy))
            with self.store.database.writing() as connection:
                created = datetime.now(UTC).isoformat(timespec="seconds")
                catalogue.open_for_writing(connection, self.name, self.model, self.plan, self.dtype, created)
                self._done = catalogue.prompt_texts(connection, self.name)
                self._shapes = catalogue.shapes(connection, self.name)
                files = catalogue.files(connection, self.name)
            self._remove_orphans(files)
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            if not self._failed:
                self.commit()
            if kind is None:
                with self.store.database.writing() as connection:
                    connection.execute("UPDATE captures SET complete = true WHERE name = ?", [self.name])

    def done(self) -> set[int]:
        """Indices of the prompts that are committed, in this session or an earlier one."""
        return set(self._done)

    def add(
        self,
        prompt_index: int,
        text: str,
        token_ids: list[int],
        str_tokens: list[str],
        activations: dict[SiteKey, Tensor],
    ) -> None:
        """Take one prompt's tensors `[pos, …]`, keyed by (layer or None, site name); cast and copied at once.

        A prompt already committed with the same text is skipped. Raises InputError for shapes that do not fit the
        prompt or the capture, and for an index that stands for another text.
        """
        known = {**self._done, **{pending.prompt: pending.text for pending in self._pending}}
        if prompt_index in known:
            if known[prompt_index] != text:
                raise InputError(f"prompt {prompt_index} of capture {self.name!r} is already there with another text")
            return
        self._check(prompt_index, token_ids, str_tokens, activations)
        target = DTYPES[self.dtype]
        kept = {
            key: tensor.detach().to(device="cpu", dtype=target, copy=True).contiguous()
            for key, tensor in activations.items()
        }
        self._pending.append(_Pending(prompt_index, text, list(token_ids), list(str_tokens), kept))
        self._pending_bytes += sum(tensor.nbytes for tensor in kept.values())
        if self._pending_bytes >= self.shard_bytes:
            self.commit()

    def commit(self) -> None:
        """Make everything added so far durable: one shard and its catalogue rows."""
        if not self._pending:
            return
        try:
            with translated(self.folder):
                self._write()
        except BaseException:
            self._failed = True
            raise
        self._done.update({pending.prompt: pending.text for pending in self._pending})
        self._pending, self._pending_bytes = [], 0

    def _write(self) -> None:
        with self.store.database.reading() as connection:
            shard, first_row = catalogue.next_shard(connection, self.name)
        path = self.folder / f"{shard:05d}.safetensors"
        layout = catalogue.Layout.of([(p.prompt, len(p.token_ids)) for p in self._pending])
        keys = list(self._shapes)
        blocks = [self._block(key, layout.n_rows) for key in keys]
        notes = {"capture": self.name, "prompts": layout.as_json()}
        extents, scalars = [], []
        for key, (written, tensor) in zip(keys, write_shard(path, self.dtype, blocks, notes), strict=True):
            extents.append(catalogue.extent_row(self.name, shard, key, self.dtype, self._shapes[key], layout, written))
            scalars.append(catalogue.scalar_rows(self.name, key, layout, tensor))
            self.nonfinite += written.nan_count + written.inf_count
        shard_row = (self.name, shard, path.name, path.stat().st_size, first_row, layout.n_rows)
        spoken = [(p.prompt, p.text, p.token_ids, p.tokens) for p in self._pending]
        with self.store.database.writing() as connection:
            catalogue.insert_shard(connection, shard_row, extents)
            catalogue.insert_prompts(connection, self.name, shard, layout, spoken)
            catalogue.insert_scalars(connection, scalars)

    def _block(self, key: SiteKey, n_rows: int) -> Block:
        layer, site = key
        name = site if layer is None else f"{layer}.{site}"
        parts = [pending.activations[key] for pending in self._pending]
        return Block(name, (n_rows, *self._shapes[key]), lambda: joined(parts))

    def _check(
        self, prompt: int, token_ids: list[int], str_tokens: list[str], activations: dict[SiteKey, Tensor]
    ) -> None:
        where = f"prompt {prompt} of capture {self.name!r}"
        if not token_ids or len(token_ids) != len(str_tokens):
            raise InputError(f"{where}: {len(token_ids)} token ids and {len(str_tokens)} token texts must pair up")
        if not activations:
            raise InputError(f"{where} has no activations")
        for key, tensor in activations.items():
            if tensor.dim() < 2 or tensor.shape[0] != len(token_ids) or tensor[0].numel() == 0:
                raise InputError(f"{where}: {key} has shape {list(tensor.shape)}; valid: [{len(token_ids)}, d]")
        shapes = {key: tuple(tensor.shape[1:]) for key, tensor in activations.items()}
        if not self._shapes:
            self._shapes = shapes
        elif shapes != self._shapes:
            differing = sorted(str(key) for key in shapes.items() ^ self._shapes.items())
            raise InputError(
                f"{where} differs from the prompts before it in sites or shapes: {', '.join(differing[:4])}"
            )

    def _remove_orphans(self, files: set[str]) -> None:
        """Delete what a killed writer renamed but never entered in the catalogue; the lock keeps live writers out."""
        for path in self.folder.iterdir():
            if path.name not in files and path.name.endswith((".safetensors", ".partial")):
                path.unlink()
