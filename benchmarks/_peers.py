"""Peers that need an environment of their own: set up once in the workspace, kept running, timed in turns with us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "peers"


class Peer:
    """A script in `peers/` run in its own environment; it answers one JSON line to each line it is sent."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Send a question and wait for the answer. Raises RuntimeError with the peer's last words when it has died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"the peer ended with code {self.process.wait()}")


@contextmanager
def peer(name: str, workspace: Path) -> Iterator[Peer]:
    """Set up `peers/requirements-NAME.txt` if that was not done, and run `peers/NAME.py` for the length of a block."""
    python = _environment(name, workspace)
    command = [str(python), str(HERE / f"{name}.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            yield Peer(process)
        finally:
            process.terminate()


def _environment(name: str, workspace: Path) -> Path:
    wanted = HERE / f"requirements-{name}.txt"
    folder = workspace / "peers" / name
    ready, python = folder / ".ready", folder / "bin" / "python"
    if not ready.exists() or ready.read_text() != wanted.read_text():
        print(f"setting up {name} in an environment of its own", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)]
        subprocess.run(install, check=True, env=os.environ)  # noqa: S603
        ready.write_text(wanted.read_text())
    return python
