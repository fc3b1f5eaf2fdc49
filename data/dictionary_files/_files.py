"""Reading and writing the files of a dictionary: plain JSON and safetensors, whole folders, no pickles."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.workspace import sync_folder
from hooks.errors import InputError, reason, unknown

PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}


def refuse_pickle(path: Path) -> None:
    """Raise InputError for a file that runs code when it is opened, with what to do instead."""
    if path.suffix.lower() in PICKLES:
        raise InputError(
            f"{path} is a pickle, which can run code when it is opened, and is not read here: where you trust it, "
            "load it with torch.load and write its tensors with safetensors.torch.save_file"
        )


def the_file(folder: Path, name: str, whose: str) -> Path:
    """A file that must be there. Raises InputError naming it, what the folder has, and the way out of a pickle."""
    if folder.is_file():
        refuse_pickle(folder)
        raise InputError(f"{folder} is a file: give the folder with {name}")
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist")
    if not (folder / name).is_file():
        there = sorted(one.name for one in folder.iterdir())
        for one in there:
            refuse_pickle(folder / one)
        raise InputError(
            f"{folder / name} is missing, {whose} needs it; the folder has {', '.join(there) or 'nothing'}"
        )
    return folder / name


def read_json(path: Path) -> dict[str, Any]:
    """An object. Raises InputError naming the file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {type(found).__name__}, not an object of settings")
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors, as stored. Raises InputError naming the file when it is damaged or half written."""
    refuse_pickle(path)
    try:
        return load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{path} is damaged or half written: {reason(error)}") from error


def in_fp32(tensors: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], str, list[str]]:
    """(fp32 tensors, number format of the file, notes). Exact from float32, float16 and bfloat16.

    Raises InputError for other formats, by tensor.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    for key, one in tensors.items():
        if one.dtype not in names:
            raise InputError(f"{path}: {key} is {str(one.dtype).removeprefix('torch.')}; known: {', '.join(DTYPES)}")
    widest = max((one.dtype for one in tensors.values()), key=lambda dtype: dtype.itemsize)
    if len({one.dtype for one in tensors.values()}) > 1:
        widest = max(widest, torch.float32, key=lambda dtype: dtype.itemsize)
    read = {key: one.float().contiguous() for key, one in tensors.items()}
    notes = []
    if any(not torch.equal(read[key].to(one.dtype), one) for key, one in tensors.items() if one.isfinite().all()):
        notes.append(f"{path.name} holds float64 numbers; they were rounded to float32")
    return read, "float32" if widest == torch.float64 else names[widest], notes


def in_format(tensors: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    """Contiguous tensors in a number format. Raises InputError for an unknown one or numbers it has no room for."""
    if dtype not in DTYPES:
        raise unknown("number format", dtype, DTYPES)
    made = {key: one.detach().cpu().to(DTYPES[dtype]).contiguous().clone() for key, one in tensors.items()}
    for key, one in made.items():
        if not bool(one.isfinite().all()):
            raise InputError(f"{key} has numbers too large for {dtype}: write float32")
    return made


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder that appears under its name when the block ends well, whole. Raises InputError if it holds anything."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not an empty folder: choose another, nothing is overwritten")
    making = target.parent / f".making-{target.name}-{os.getpid()}"
    shutil.rmtree(making, ignore_errors=True)
    try:
        making.mkdir(parents=True)
        yield making
        for path in (*making.rglob("*"), making):
            sync_folder(path)
        if target.is_dir():
            target.rmdir()
        making.rename(target)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{target} cannot be written: {reason(error)}") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Indented, keys as given. Raises InputError for NaN."""
    try:
        path.write_text(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    except ValueError as error:
        raise InputError(f"{path.name}: a number is NaN or infinite, which JSON has no word for") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file."""
    save_file(dict(tensors), path)
