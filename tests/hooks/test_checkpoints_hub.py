"""Hub ids, against a small hub on this machine: what is fetched, what is refused, what an absent hub sounds like."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from hooks.checkpoints import fetch

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# The hub client reads its address when it is imported, hence a process of its own.
FETCH = """
import pathlib, sys, hooks.checkpoints as checkpoints
made = checkpoints.fetch(sys.argv[1], pathlib.Path(sys.argv[2]))
print(made.name, made.source, made.licence, made.quantisation, made.folder, sep="|")
"""


class Hub(BaseHTTPRequestHandler):
    """Answers for the models in `root/org/name`: their listing, and each file with its digest and commit."""

    root: Path

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""

    def _answer(self, with_body: bool) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        listing = parts[:2] == ["api", "models"]
        folder = self.root / "/".join(parts[2:4] if listing else parts[:2])
        if not folder.is_dir():
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self._listing(folder) if listing else (folder / parts[-1]).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _listing(self, folder: Path) -> bytes:
        paths = sorted(folder.iterdir())
        if "tree" in self.path.split("/"):
            tree = [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": _oid(p)} for p in paths]
            return json.dumps(tree).encode()
        files = [{"rfilename": path.name, "size": path.stat().st_size} for path in paths]
        name = "/".join(folder.parts[-2:])
        return json.dumps({"id": name, "sha": COMMIT, "siblings": files, "cardData": {"license": "mit"}}).encode()


def _oid(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """(the folder `org` of the hub, with one model `toy` in it; the hub's address)."""
    folder = tmp_path / "hub" / "org"
    folder.mkdir(parents=True)
    made = fetch("toy:gpt2", tmp_path / "toys").folder.rename(folder / "toy")
    (made / "checkpoint.json").unlink()
    (made / "training_code.py").write_text("raise SystemExit")
    handler = type("HubOfTest", (Hub,), {"root": folder.parent})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(spec: str, workspace: Path, address: str) -> subprocess.CompletedProcess[str]:
    home = str(workspace / "home")
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": home, "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", FETCH, spec, str(workspace)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def last_line(process: subprocess.CompletedProcess[str]) -> str:
    assert process.returncode == 1, process.stderr
    return process.stderr.strip().splitlines()[-1]


def test_a_hub_model_is_copied_without_its_code(hub: tuple[Path, str], tmp_path: Path) -> None:
    answer = ask("org/toy", tmp_path, hub[1])
    assert answer.returncode == 0, answer.stderr
    name, source, licence, quantisation, place = answer.stdout.strip().split("|")
    assert (name, source, licence, quantisation) == ("org/toy", f"hub org/toy@{COMMIT}", "mit", "none")
    copied = {path.name for path in Path(place).iterdir()}
    assert copied >= {"config.json", "model.safetensors", "tokenizer.json", "checkpoint.json"}
    assert not copied & {"training_code.py", ".cache"}
    # Once it is here, no hub is needed.
    assert fetch("org/toy", tmp_path).folder == Path(place)


def test_a_hub_model_with_remote_code_is_refused(hub: tuple[Path, str], tmp_path: Path) -> None:
    config = json.loads((hub[0] / "toy" / "config.json").read_text())
    (hub[0] / "toy" / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    assert "no code from a checkpoint is run" in last_line(ask("org/toy", tmp_path, hub[1]))
    assert [path for path in (tmp_path / "models").iterdir() if path.is_dir()] == []


def test_a_hub_model_with_pickled_weights_is_refused(hub: tuple[Path, str], tmp_path: Path) -> None:
    (hub[0] / "toy" / "model.safetensors").rename(hub[0] / "toy" / "pytorch_model.bin")
    assert "holds pytorch_model.bin: pickled weights can run code" in last_line(ask("org/toy", tmp_path, hub[1]))


def test_an_unknown_hub_model_says_so(hub: tuple[Path, str], tmp_path: Path) -> None:
    assert "the hub has no public model 'org/nothing'" in last_line(ask("org/nothing", tmp_path, hub[1]))


def test_no_hub_is_one_line_with_alternatives(tmp_path: Path) -> None:
    # Port 9 of this machine answers nobody.
    said = last_line(ask("org/name", tmp_path, "http://127.0.0.1:9"))
    assert said.startswith("hooks.errors.InputError: no model hub can be reached for 'org/name'")
    assert "smollm2-135m, a toy: model, a local folder, a *.gguf file" in said
