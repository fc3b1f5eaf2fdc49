"""A folder of dictionaries of any form, told apart by what is in it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from data.dictionary_files._files import refuse_pickle
from data.dictionary_files.circuit_tracer import CONFIG, read_transcoder_set
from data.dictionary_files.saelens import CFG, WEIGHTS, read_saelens
from hooks.dictionaries import Placed
from hooks.errors import InputError


def read_folder(folder: Path, *, scale: float | None = None, ignore: Collection[str] = ()) -> list[Placed]:
    """A SAELens folder, a folder of such folders, or a circuit-tracer transcoder set.

    Args:
        folder: where they are.
        scale: see `read_saelens`.
        ignore: keys of their settings to leave out.

    Raises:
        InputError: what the readers raise, or a folder that is none of these, with what it has.
    """
    refuse_pickle(folder)
    if (folder / CONFIG).is_file():
        if scale is not None:
            raise InputError(f"{folder} is a circuit-tracer transcoder set: a scale has no use")
        return read_transcoder_set(folder, ignore=ignore)
    if not folder.is_dir() or (folder / CFG).exists() or (folder / WEIGHTS).exists():
        return [read_saelens(folder, scale=scale, ignore=ignore)]
    parts = sorted(one for one in folder.iterdir() if (one / CFG).exists() or (one / WEIGHTS).exists())
    if parts:
        return [read_saelens(one, scale=scale, ignore=ignore) for one in parts]
    for one in sorted(folder.iterdir()):
        refuse_pickle(one)
    there = ", ".join(sorted(one.name for one in folder.iterdir())) or "nothing"
    raise InputError(
        f"{folder} holds no dictionary: neither {CFG} (SAELens) nor {CONFIG} (circuit-tracer); it has {there}"
    )
