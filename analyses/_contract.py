"""What every analysis file declares, and what it is given to run with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import plotly.graph_objects as go

from analyses._inputs import Inputs, Need
from analyses._reserved import RESERVED
from analyses._spec import Spec, an_artifact, another_model, shown, uses
from hooks.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from hooks.checkpoints.building import Maker
    from hooks.model import Model

__all__ = [
    "RESERVED",
    "Analysis",
    "Column",
    "Context",
    "ContractError",
    "Frames",
    "Inputs",
    "Need",
    "Spec",
    "an_artifact",
    "another_model",
    "shown",
    "uses",
]

Frames = dict[str, pd.DataFrame]
Family = Literal["Reading", "Causal", "Attention", "Features", "Circuits"]
WANTED: dict[Need, str] = {
    "prompt": "one prompt (--prompt)",
    "pair": "one pair (--clean, --corrupted, --answer, --distractor)",
    "pairs": "several pairs (--set NAME or --file pairs.jsonl)",
    "tasks": "tasks (--set NAME, --file tasks.jsonl, or --prompt with --answer)",
    "texts": "texts (--file texts.txt)",
}
"""What is said to be needed, with how it is asked for."""


class ContractError(Exception):
    """An analysis does not keep what it declares: a mistake in its file, not in what a user gave."""


@dataclass(frozen=True)
class Column:
    """One column of a result frame: its name, its unit ("" for labels), and what it says."""

    name: str
    unit: str
    description: str


def _just_compute(_part: str, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    return compute()


def _nothing_to_use(name: str) -> Any:
    raise ContractError(f"what option {name!r} names is not there: the run was started without it")


def _no_objection(_model: Model, _inputs: Inputs, _spec: Any) -> None:
    pass


@dataclass(frozen=True)
class Context:
    """How a running analysis speaks to whoever started it.

    A run begins with its first `progress` or `part`: an InputError before that is input refused, and nothing is stored;
    after it, a run that failed, and it is remembered with its error.

    Attributes:
        progress: called with a fraction 0…1 and a few words; raises Cancelled to stop.
        part: `part(name, compute)` returns a frame computed before the run was interrupted, or computes and keeps it.
            A part is one transaction of the store: make it a chunk of prompts rather than a prompt. It outlives a
            change of code for as long as the analysis' version stands still.
        use: `use(field)` is the loaded model, or the artifact, that an `another_model` or `an_artifact` field names.
        keep: `keep(name, kind, tensors, meta)` leaves an artifact for later runs, in place of one of that name.
        keep_model: `keep_model(name, make)` leaves a checkpoint; `make(folder)` fills an empty folder with a loadable
            model and says where it came from. Returns what to type to load it.
        show: `show(name, frame)` puts the newest rows of a running run on its page: the first column is x, the others
            are lines.
        recall: `recall(name)` is the tensors that this very run remembered before it was interrupted, or None.
        remember: `remember(name, tensors)` keeps them until the run is done, in place of older ones of that name.
    """

    progress: Callable[[float, str], None] = field(default=lambda _fraction, _label: None)
    part: Callable[[str, Callable[[], pd.DataFrame]], pd.DataFrame] = field(default=_just_compute)
    use: Callable[[str], Any] = field(default=_nothing_to_use)
    keep: Callable[[str, str, Mapping[str, Tensor], Mapping[str, Any]], None] = field(default=lambda *_: None)
    keep_model: Callable[[str, Maker], str] = field(default=lambda name, _make: name)
    show: Callable[[str, pd.DataFrame], None] = field(default=lambda *_: None)
    recall: Callable[[str], dict[str, Tensor] | None] = field(default=lambda _name: None)
    remember: Callable[[str, Mapping[str, Tensor]], None] = field(default=lambda *_: None)


@dataclass(frozen=True)
class Analysis:
    """One analysis, complete: everything a command, a page, a batch file and the docs need to know about it.

    Attributes:
        name: the file's name; the command's and the page's too.
        title: for people.
        question: what it answers, one sentence.
        meaning: what its pictures mean, one sentence under every figure.
        paper: the source it cites.
        needs: which inputs it accepts.
        spec: its options.
        run: (model, inputs, spec, context) → frames.
        figures: (frames, spec) → figures by name, drawn from the frames alone.
        columns: the declared columns of each frame.
        example: inputs and options of a worked example on the default model, as `Inputs.as_dict` plus "spec".
        version: raised when results change; part of every run's key.
        check: (model, inputs, spec); raises InputError for what this model and these inputs cannot show. Called before
            a run is looked up or computed; for display fields, which `run` does not see when a run is opened again.
        pictures: spec → the names of the figures that will be drawn, in order; lets a wrong name be refused early.
        trial: inputs and options that the contract tests run on toy models, in the shape of `example`, or a request
            such as {"set": "two_hop", "limit": 2}; several, in a tuple, for needs of several kinds. Empty where any
            input of the needed kind and the defaults will do.
        detail: (frames, spec, figure, column label, row label) → what lies behind a clicked cell of a heatmap, from the
            frames alone; None where nothing does. For a clicked node of a graph: (frames, spec, figure, node, "").
        act: (frames, spec, node) → which analysis ablates a clicked node of a graph, with its options and, where the
            run's own inputs will not do, its inputs by name; None for a node that none ablates.
        family: the section of the navigation in which its page stands.
        onward: analyses that its page offers to go on with, by name.
        by_text: its texts are read as text, or in pieces: they may be longer than the model reads at once.
    """

    name: str
    title: str
    question: str
    meaning: str
    paper: str
    needs: tuple[Need, ...]
    spec: type[Spec]
    run: Callable[[Model, Inputs, Any, Context], Frames]
    figures: Callable[[Frames, Any], dict[str, go.Figure]]
    columns: dict[str, tuple[Column, ...]]
    example: dict[str, Any]
    version: int = 1
    check: Callable[[Model, Inputs, Any], None] = _no_objection
    pictures: Callable[[Any], tuple[str, ...]] | None = None
    trial: Mapping[str, Any] | tuple[Mapping[str, Any], ...] = ()
    detail: Callable[[Frames, Any, str, str, str], pd.DataFrame | None] | None = None
    act: Callable[[Frames, Any, str], tuple[str, Mapping[str, Any]] | None] | None = None
    family: Family = "Reading"
    onward: tuple[str, ...] = ()
    by_text: bool = False

    def accept(self, inputs: Inputs) -> None:
        """Raise InputError when these inputs are not what the analysis needs."""
        if not inputs.kinds & set(self.needs):
            raise InputError(f"{self.name} needs {' or '.join(WANTED[need] for need in self.needs)}")

    def conform(self, frames: Frames) -> Frames:
        """Check that the frames are the declared ones, column for column. Raises ContractError naming what differs."""
        for name, columns in self.columns.items():
            declared = [column.name for column in columns]
            found = list(frames[name].columns) if name in frames else "no such frame"
            if found != declared:
                raise ContractError(f"{self.name} declares frame {name!r} with columns {declared} but returned {found}")
        if extra := set(frames) - set(self.columns):
            raise ContractError(f"{self.name} returned undeclared frames: {', '.join(sorted(extra))}")
        return frames
