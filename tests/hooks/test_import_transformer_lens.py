"""Our folder `kernels` shadows an optional package of that name: the libraries must import all the same."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("library", ["transformer_lens", "transformers"])
def test_the_library_imports_from_the_repository_root(library: str) -> None:
    code = f"import kernels, {library}; print(kernels.__file__); from {library} import __name__"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(REPOSITORY / "kernels" / "__init__.py")


def test_kernels_stays_free_of_imports_and_of_a_version() -> None:
    tree = ast.parse((REPOSITORY / "kernels" / "__init__.py").read_text(encoding="utf-8"))
    beyond_docstring = tree.body[1:] if ast.get_docstring(tree) else tree.body
    assert not beyond_docstring
