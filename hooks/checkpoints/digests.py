"""SHA-256 of model files, remembered by size and time of change so that big models are read once."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hooks.checkpoints.building import models_folder
from hooks.checkpoints.record import RECORD_FILE, WAY_OUT, Checkpoint, file_sha256, identity_files, revision_of
from hooks.errors import InputError


def cached_sha256(path: Path, workspace: Path) -> str:
    """SHA-256 of a file, from `workspace/models/digests.json` when the file has not changed since."""
    memory = models_folder(workspace) / "digests.json"
    state = path.stat()
    known = _read(memory)
    stamp = [str(path.resolve()), state.st_size, state.st_mtime_ns]
    for *seen, digest in known:
        if seen == stamp:
            return digest
    digest = file_sha256(path)
    memory.parent.mkdir(parents=True, exist_ok=True)
    kept = [entry for entry in _read(memory) if entry[0] != stamp[0]]
    draft = memory.with_name(f".digests-{os.getpid()}.json")
    draft.write_text(json.dumps([*kept, [*stamp, digest]]), encoding="utf-8")
    draft.replace(memory)
    return digest


def intact(checkpoint: Checkpoint, workspace: Path) -> Checkpoint:
    """The same checkpoint, if its weights and configuration still have the checksums that its revision stands for.

    A folder of the user's own has no record; its revision is made from what is there. Raises InputError otherwise.
    """
    if (checkpoint.folder / RECORD_FILE).is_file():
        digests = {path.name: cached_sha256(path, workspace) for path in identity_files(checkpoint.folder)}
        found = revision_of(digests)
        if found != checkpoint.revision:
            raise InputError(
                f"the checksum of {', '.join(sorted(digests))} in {checkpoint.folder} does not match: revision {found} "
                f"instead of {checkpoint.revision}, so the model is damaged: {WAY_OUT}"
            )
    return checkpoint


def _read(memory: Path) -> list[list]:
    """Remembered [path, size, nanoseconds, digest] rows; a lost or damaged memory only costs reading again."""
    try:
        rows = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [row for row in rows if isinstance(row, list) and len(row) == 4] if isinstance(rows, list) else []
