"""Texts of a hub dataset, against a small hub on this machine: what is fetched, and what is refused."""

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

from hooks.checkpoints.hub_texts import fetch_texts
from hooks.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "README.md": "about it",
    "data/test.jsonl": '{"text": "a test text"}\n',
    "data/train.jsonl": '{"text": "first text"}\n{"text": "second text"}\n',
    "load.py": "raise SystemExit",
}


class Hub(BaseHTTPRequestHandler):
    """Answers for the dataset org/texts: its listing, and each file with its digest and commit."""

    files = FILES

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""

    def _answer(self, with_body: bool) -> None:
        path = self.path.split("?")[0].strip("/")
        name = path.partition(f"resolve/{COMMIT}/")[2]
        if path.startswith("api/datasets/org/texts"):
            files = [{"rfilename": one, "size": len(text)} for one, text in self.files.items()]
            card = {"id": "org/texts", "sha": COMMIT, "siblings": files, "cardData": {"license": "cc0-1.0"}}
            body = json.dumps(card).encode()
        elif path.startswith("datasets/org/texts") and name in self.files:
            body = self.files[name].encode()
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@pytest.fixture
def hub(request: pytest.FixtureRequest) -> Iterator[str]:
    """The hub's address; its files can be given as a parameter."""
    handler = type("HubOfTest", (Hub,), {"files": getattr(request, "param", FILES)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(words: list[str], workspace: Path, address: str) -> subprocess.CompletedProcess[str]:
    # The hub client reads its address when it is imported, hence a process of its own.
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(workspace / "home"),
                   "HF_HUB_DISABLE_XET": "1", "INTERP_WORKSPACE": str(workspace)}  # fmt: skip
    command = [sys.executable, "-m", "interp", "texts", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_training_file_is_copied_alone_and_once(hub: str, tmp_path: Path) -> None:
    answer = ask(["org/texts"], tmp_path, hub)
    assert answer.returncode == 0, answer.stderr
    found = Path(answer.stdout.strip())
    assert found.read_text() == FILES["data/train.jsonl"]
    folder = tmp_path / "texts" / "hub-org--texts"
    copied = {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
    assert copied == {"data/train.jsonl", "origin.json"}
    assert json.loads((folder / "origin.json").read_text()) == {
        "dataset": "org/texts", "commit": COMMIT, "licence": "cc0-1.0"}  # fmt: skip
    # Once it is here, no hub is needed: port 9 of this machine answers nobody.
    again = ask(["org/texts", "--file", "data/train.jsonl"], tmp_path, "http://127.0.0.1:9")
    assert again.stdout.strip() == str(found), again.stderr


def test_a_named_file_is_copied_and_an_unknown_one_names_the_others(hub: str, tmp_path: Path) -> None:
    found = Path(ask(["org/texts", "--file", "data/test.jsonl"], tmp_path, hub).stdout.strip())
    assert found.read_text() == FILES["data/test.jsonl"]
    refused = ask(["org/texts", "--file", "data/tset.jsonl"], tmp_path, hub)
    assert refused.returncode == 2
    assert "data/tset.jsonl" in refused.stderr
    assert "data/test.jsonl" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("hub", [{"load.py": "raise SystemExit", "train.pkl": "x"}], indirect=True)
def test_a_dataset_of_code_and_pickles_is_refused(hub: str, tmp_path: Path) -> None:
    refused = ask(["org/texts"], tmp_path, hub)
    assert refused.returncode == 2
    assert "no file that can be read here: .parquet, .jsonl" in refused.stderr


def test_an_unknown_dataset_says_so(hub: str, tmp_path: Path) -> None:
    refused = ask(["org/other"], tmp_path, hub)
    assert refused.returncode == 2
    assert "no public dataset 'org/other'" in refused.stderr
    with pytest.raises(InputError, match="write org/name"):
        fetch_texts("other", tmp_path)


def test_no_hub_is_one_line_with_alternatives(tmp_path: Path) -> None:
    refused = ask(["org/texts"], tmp_path, "http://127.0.0.1:9")
    assert refused.returncode == 2
    assert "no model hub can be reached for 'org/texts'" in refused.stderr
    assert "--set domains" in refused.stderr
