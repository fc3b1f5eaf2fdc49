"""What a run uses besides its model and inputs, named in its options: another model, or an artifact."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyses._contract import Spec
from data.artifacts import Artifact, list_artifacts, load_artifact
from data.capture_admin import list_captures
from data.capture_reader import CaptureReader
from data.store import Store
from hooks.checkpoints import catalogue
from hooks.errors import InputError
from hooks.model import DTYPES, Model
from interp.model_names import check_model

if TYPE_CHECKING:
    from collections.abc import Callable

One = Model | Artifact | CaptureReader
Used = Mapping[str, One]
"""By option: a loaded model, an artifact, or a capture."""


def check_used(spec: Spec, workspace: Path, coming: Collection[str] = ()) -> None:
    """Raise InputError, naming the option, for what is not there, nor among the `coming` artifacts."""
    for field, (kind, name) in spec.uses().items():
        try:
            if kind == "model":
                check_model(name, next(iter(DTYPES)), workspace)
            elif name not in coming:
                _read(kind, name, workspace)
        except InputError as error:
            raise InputError(f"option {field}: {error}") from None


def loaded(spec: Spec, workspace: Path, load_model: Callable[[str], Model]) -> dict[str, One]:
    """Everything that the options name, by option. Raises InputError for what is not there."""
    return {
        field: load_model(name) if kind == "model" else _read(kind, name, workspace)
        for field, (kind, name) in spec.uses().items()
    }


def _read(kind: str, name: str, workspace: Path) -> Artifact | CaptureReader:
    return CaptureReader(Store(workspace), name) if kind == "capture" else load_artifact(workspace, name, kind)


def identity(one: One) -> dict[str, str]:
    """What to tell people, and to compare in a rerun."""
    return one.identity.as_dict() if isinstance(one, Model) else one.identity()


def content(one: One) -> dict[str, str]:
    """What of it says which numbers it holds, whatever it was called when it was asked for."""
    return {k: v for k, v in identity(one).items() if k not in ("name", "spec", "source")}


def offered(kind: str, workspace: Path) -> list[str]:
    """The names that an option of this kind can have on this machine."""
    if kind == "model":
        return [entry.name for entry in catalogue(workspace)]
    if kind == "capture":
        return [str(name) for name in list_captures(Store(workspace))["capture"]]
    return [str(name) for name in list_artifacts(workspace, kind)["name"]]


def refuse_changed(figure: Path, wanted: Mapping[str, Any], found: Mapping[str, str]) -> None:
    """Raise InputError when a name of a recipe now means other numbers."""
    if found["revision"] != wanted["revision"]:
        name = found.get("spec", found["name"])
        raise InputError(
            f"{figure} was made with {wanted['name']} revision {wanted['revision']}, but {name} now holds revision "
            f"{found['revision']}: the same data cannot come out; restore that checkpoint"
        )
