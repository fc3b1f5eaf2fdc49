"""`interp dictionaries`: list those that are kept, take in those of other tools, and write them for other tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pandas as pd

from analyses._dictionaries.kept import CROSS, KIND, all_of, contents
from data.artifacts import check_name, list_artifacts, load_artifact, save_artifact
from data.dictionary_files import read_folder, write_saelens, write_transcoder_set
from data.dictionary_files._files import DTYPES, new_folder
from hooks.dictionaries import Placed
from hooks.errors import InputError
from interp.cli_errors import TRACEBACK_OPTION, OneOf, Whole
from interp.console import JSON_OPTION, Reporter, say, with_options
from interp.workbench import Workbench

FORMATS = ("saelens", "circuit-tracer")


@click.group()
def dictionaries() -> None:
    """List, import and export sparse dictionaries: SAELens folders and circuit-tracer transcoder sets."""


@with_options(JSON_OPTION)
@dictionaries.command("list")
def list_dictionaries(as_json: bool) -> None:
    """List the dictionaries that are kept in this workspace."""
    kept = list_artifacts(Workbench().workspace, KIND)
    rows = [_row(str(name), json.loads(meta), size) for name, size, meta in zip(
        kept["name"], kept["size_mb"], kept["meta"], strict=True)]  # fmt: skip
    say(pd.DataFrame(rows), as_json)


@with_options(JSON_OPTION)
@dictionaries.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--as", "name", required=True, help="name to keep it under; other commands and pages use it by that name")
@click.option("--model", help="the model it was made for: checked, and remembered [default: any model of its width]")
@click.option("--scale", type=float, help="what activations were multiplied by, for expected_average_only_in")
@click.option("--ignore", multiple=True, metavar="KEY", help="a key of its settings to leave out; may be repeated")
@click.option("--replace", "again", is_flag=True, help="take the place of what is kept under that name")
def import_dictionary(
    folder: Path, name: str, model: str | None, scale: float | None, ignore: tuple[str, ...], again: bool, as_json: bool
) -> None:
    """Keep the dictionaries of FOLDER: a SAELens folder, a folder of such folders, or a circuit-tracer set."""
    bench = Workbench()
    check_name(name)
    if not again and name in set(list_artifacts(bench.workspace)["name"]):
        raise InputError(f"{name!r} is kept already: choose another name, or --replace")
    found = read_folder(folder, scale=scale, ignore=ignore)
    found = _belonging(found, folder) if model is None else _checked(found, model, bench)
    tensors, meta = contents(found, {"imported": folder.name})
    save_artifact(bench.workspace, name, KIND, tensors, meta)
    for note in dict.fromkeys(note for one in found for note in one.about.get("notes", ())):
        click.echo(f"note: {note}", err=True)
    said = {"imported": name, "dictionaries": [_told(one) for one in found], "model": found[0].model.get("name")}
    lines = [f"kept as {name!r}: {len(found)} {'dictionary' if len(found) == 1 else 'dictionaries'}"]
    say(said if as_json else "\n".join(lines + [f"  {_line(one)}" for one in found]), as_json)


@with_options(JSON_OPTION)
@dictionaries.command("export")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=OneOf(FORMATS), default="saelens", show_default=True, help="whose files to write"
)
@click.option("--layer", type=Whole(0), help="only this layer's dictionary [default: all; SAELens: a folder for each]")
@click.option("--dtype", type=OneOf(list(DTYPES)), help="number format [default: the one it was read in, else float32]")
def export_dictionary(name: str, folder: Path, form: str, layer: int | None, dtype: str | None, as_json: bool) -> None:
    """Write kept dictionary NAME to the new FOLDER."""
    found = all_of(load_artifact(Workbench().workspace, name, KIND))
    chosen = [one for one in found if layer is None or one.reads.layer == layer]
    if not chosen:
        layers = ", ".join(str(one.reads.layer) for one in found)
        raise InputError(f"dictionary {name!r} has none for layer {layer}; it has layers {layers}")
    if form == "circuit-tracer":
        write_transcoder_set(chosen, folder, dtype=dtype)
    elif len(chosen) == 1:
        write_saelens(chosen[0], folder, dtype=dtype)
    else:
        with new_folder(folder) as making:
            for one in chosen:
                write_saelens(one, making / one.reads.name, dtype=dtype)
    written = sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())
    told = {"exported": name, "format": form, "folder": str(folder), "files": written}
    say(told if as_json else f"wrote {folder}: {', '.join(written)}", as_json)


for command in dictionaries.commands.values():
    command.params.append(TRACEBACK_OPTION)


def _checked(found: Sequence[Placed], model: str, bench: Workbench) -> list[Placed]:
    """The same, made for a model that they fit. Raises InputError where they do not."""
    report = Reporter()
    loaded = bench.model(model, progress=report)
    report.close()
    for one in found:
        one.check(loaded)
    return [replace(one, model=loaded.identity.as_dict()) for one in found]


def _belonging(found: list[Placed], folder: Path) -> list[Placed]:
    """They are kept under one name: for one model, or for none that is known."""
    if len({json.dumps(one.model, sort_keys=True) for one in found}) > 1:
        raise InputError(f"{folder} has dictionaries of several models: import them one by one, or say --model")
    return found


def _row(name: str, meta: dict[str, Any], size: float) -> dict[str, Any]:
    parts = meta.get("dictionaries", [])
    if "layers" in meta:  # a cross-layer set
        where = f"layers {', '.join(str(one) for one in meta['layers'])}"
        parts = [{"reads": where, "writes": "those and later ones", "settings": {"architecture": CROSS}}]
    told = {key: ", ".join(dict.fromkeys(str(one.get(key)) for one in parts)) for key in ("reads", "writes")}
    kinds = dict.fromkeys(str(one.get("settings", {}).get("architecture")) for one in parts)
    return {"name": name, "model": meta.get("model", {}).get("name") or "not known", "dictionaries": len(parts),
            "architecture": ", ".join(kinds), **told, "size_mb": size}  # fmt: skip


def _told(one: Placed) -> dict[str, Any]:
    numbers = {key: getattr(one.dictionary, key) for key in ("architecture", "d_in", "d_sae", "d_out", "k")}
    return {"reads": one.reads.name, "writes": one.writes.name} | numbers


def _line(one: Placed) -> str:
    to = f" to {one.writes.name}" if one.transcodes else ""
    return f"{one.reads.name}{to}: {one.dictionary.architecture}, {one.dictionary.d_sae:,} latents"
