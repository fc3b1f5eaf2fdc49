"""Start the browser app: Streamlit on this machine's own address, with telemetry off, and say where it is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click

from hooks.errors import InputError

APP = Path(__file__).resolve().parent.parent / "app.py"


def serve(port: int, address: str) -> int:
    """Run the app until it is stopped; returns Streamlit's exit code. Raises InputError when the port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise InputError(f"cannot listen on {address}:{port}: {error.strerror}; try --port {port + 1}") from error
    shown = f"[{address}]" if ":" in address else address
    click.echo(f"Interp Workbench: http://{shown}:{port}  (Ctrl+C stops it)")
    options = ["--server.port", str(port), "--server.address", address, "--server.headless", "true"]
    command = [sys.executable, "-m", "streamlit", "run", str(APP), *options, "--browser.gatherUsageStats", "false"]
    with subprocess.Popen(command, env=os.environ | {"STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false"}) as server:  # noqa: S603
        return _until_stopped(server)


def _until_stopped(server: subprocess.Popen[bytes]) -> int:
    """Wait for the server. Whatever ends this process politely ends the server too, which nobody would find again."""

    def stop(*_: object) -> None:
        server.terminate()

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        return max(0, server.wait())
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
