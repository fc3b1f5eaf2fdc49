"""One C file of ours as a loaded library: compiled on first use, kept in a per-user cache, named by its content."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import torch

COMPILE = ("-std=gnu11", "-O3", "-march=native", "-fPIC")
SECONDS = 120
"""Longest wait for the compiler."""

VARIANTS = {
    "torch's OpenMP": (("-fopenmp",), ()),
    "own OpenMP": (("-fopenmp",), ("-fopenmp",)),
    "one thread": ((), ()),
}
"""(compile, link) flags, tried in order. The first leaves OpenMP's symbols open: they are found in the runtime
that torch has loaded, so that both share one set of threads. A second runtime's idle threads would spin on its cores.
"""

_lock = threading.Lock()
_loaded: dict[tuple[Path, str], ctypes.CDLL] = {}


class NoCompiler(RuntimeError):
    """The library cannot be built or loaded here; the message says why."""


def load(source: Path) -> ctypes.CDLL:
    """The library made of one C file. Thread-safe; processes may race, the loser's copy is the same.

    The compiler is `CC` (with its arguments) or `cc`; the cache is `$XDG_CACHE_HOME/interp-workbench/compiled`, or
    under `~/.cache`. Calls release the interpreter lock. Functions get their `argtypes` from the caller.

    Raises:
        NoCompiler: no compiler, source that does not compile, no folder to write to.
    """
    command = os.environ.get("CC", "cc")
    with _lock:
        key = (source.resolve(), command)
        if key not in _loaded:
            _loaded[key] = _open(source, command)
        return _loaded[key]


def why_not(source: Path) -> str:
    """Why `load(source)` raises, or "" if it does not."""
    try:
        load(source)
    except NoCompiler as reason:
        return str(reason)
    return ""


def cache_folder() -> Path:
    """Where libraries are kept; not created here."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "interp-workbench" / "compiled"


def _open(source: Path, command: str) -> ctypes.CDLL:
    library = cache_folder() / f"{source.stem}-{_key(source, command)}.so"
    if library.is_file():
        try:
            return ctypes.CDLL(str(library))
        except OSError:
            pass  # torn or from another system: built again below, over it
    return _build(source, command, library)


def _key(source: Path, command: str) -> str:
    """What the machine code depends on: source and headers, compiler, flags, the processor, torch's OpenMP."""
    text = [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h")))]
    parts = [*text, command.encode(), repr((COMPILE, VARIANTS)).encode(), _processor().encode()]
    return hashlib.sha256(b"\0".join([*parts, torch.__version__.encode()])).hexdigest()[:24]


def _processor() -> str:
    """Home folders are shared between machines; code for one processor's instructions kills a process on another."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.is_file() else ""
    flags = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return f"{platform.system()} {platform.machine()} {platform.processor()} {flags}"


def _build(source: Path, command: str, library: Path) -> ctypes.CDLL:
    compiler = shlex.split(command)
    if not compiler or shutil.which(compiler[0]) is None:
        raise NoCompiler(f"no C compiler: {command!r} is not there (the environment variable CC names another)")
    try:
        library.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            return _first_that_loads(source, compiler, Path(folder), library)
    except OSError as error:
        raise NoCompiler(f"{library.parent} cannot be used as a cache of compiled code: {error}") from error


def _first_that_loads(source: Path, compiler: list[str], folder: Path, library: Path) -> ctypes.CDLL:
    reasons = []
    for number, (name, (compile_flags, link_flags)) in enumerate(VARIANTS.items()):
        made, loadable = folder / f"{number}.o", folder / f"{number}.so"
        wrong = _run([*compiler, *COMPILE, *compile_flags, "-c", str(source), "-o", str(made)])
        wrong = wrong or _run([*compiler, "-shared", *link_flags, str(made), "-lm", "-o", str(loadable)])
        if not wrong:
            try:
                ctypes.CDLL(str(loadable), mode=os.RTLD_NOW)
            except OSError as error:
                wrong = str(error)
        if not wrong:
            loadable.replace(library)
            return ctypes.CDLL(str(library))
        reasons.append(f"{name}: {wrong}")
    raise NoCompiler(f"{source.name} does not compile with {' '.join(compiler)}: {'; '.join(reasons)}")


def _run(command: list[str]) -> str:
    """What the command complained of, or ""."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return "" if done.returncode == 0 else next((line for line in lines if "error" in line), lines[0])
