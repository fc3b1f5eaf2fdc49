"""One C file becomes a library: cached by content, refused with a reason, rebuilt when torn."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernels import _compiled


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "sum.c"
    path.write_text("int sum(int a, int b) { return a + b; }")
    return path


def test_many_threads_build_once(source: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(_compiled.load, [source] * 8))
    assert found[0].sum(2, 3) == 5
    assert all(one is found[0] for one in found)
    assert len(list(_compiled.cache_folder().iterdir())) == 1


def test_other_content_is_another_library(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _compiled.load(source).sum(2, 3) == 5
    monkeypatch.setattr(_compiled, "_loaded", {})
    source.write_text("int sum(int a, int b) { return a - b; }")
    assert _compiled.load(source).sum(2, 3) == -1
    assert len(list(_compiled.cache_folder().iterdir())) == 2


def test_a_torn_file_is_built_again(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torn = _compiled.cache_folder() / f"sum-{_compiled._key(source, 'cc')}.so"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"not a library")
    monkeypatch.delenv("CC", raising=False)
    assert _compiled.load(source).sum(2, 3) == 5


def test_reasons(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source.write_text("int sum(int a) { return ; }}")
    with pytest.raises(_compiled.NoCompiler, match=r"sum.c does not compile.*error"):
        _compiled.load(source)
    monkeypatch.setenv("CC", "no-such-compiler -O1")
    assert "no-such-compiler" in _compiled.why_not(source)
    monkeypatch.delenv("CC")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(_compiled.NoCompiler, match="cannot be used as a cache"):
        _compiled.load(source)
