"""`interp dictionaries export-features, export-labels, import-labels`: what is known of latents, for other tools."""

from __future__ import annotations

from pathlib import Path

import click

from analyses._dictionaries import kept
from analyses._dictionaries.labels import KIND, contents, features_id, labels_of, labels_of_lines, lines_of
from analyses.feature_browser.exporting import features_of, source_id
from data.artifacts import check_name, load_artifact, save_artifact
from data.dictionary_files import Source, write_features
from hooks.dictionaries import Placed
from hooks.errors import InputError, reason
from interp.cli_errors import TRACEBACK_OPTION, Whole
from interp.console import JSON_OPTION, say, with_options
from interp.workbench import Workbench

BROWSER = "feature_browser"
FILE = click.Path(path_type=Path)
LAYER = click.option("--layer", type=Whole(0), help="of a dictionary of several layers [default: its first]")


@with_options(JSON_OPTION)
@click.command("export-features")
@click.argument("run")
@click.argument("folder", type=FILE)
@click.option("--source", help="what the dictionary is called there, such as 15-res-mine [default: made from it]")
def export_features(run: str, folder: Path, source: str | None, as_json: bool) -> None:
    """Write the latents of a feature_browser RUN to the new FOLDER, as Neuronpedia's JSON lines."""
    done = Workbench().reopen(run)
    if done.analysis.name != BROWSER:
        raise InputError(f"run {done.key} is of {done.analysis.name}: features are exported from a run of {BROWSER}")
    about = done.frames["about"].iloc[0]
    features = features_of(done.frames)
    write_features(folder, Source(str(done.model["name"]), source or source_id(about.to_dict())), features)
    told = {"exported": len(features), "folder": str(folder)}
    say(told if as_json else f"wrote {folder}: {len(features):,} features", as_json)


@with_options(JSON_OPTION)
@click.command("export-labels")
@click.argument("name")
@click.argument("dictionary")
@click.argument("file", type=FILE)
@LAYER
def export_labels(name: str, dictionary: str, file: Path, layer: int | None, as_json: bool) -> None:
    """Write kept labels NAME of kept DICTIONARY to FILE, a JSON object a line."""
    workspace = Workbench().workspace
    mine, latents = _features(dictionary, layer, workspace)
    found = labels_of(load_artifact(workspace, name, KIND), mine, latents)
    try:
        file.write_text(lines_of(found, mine, latents), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be written: {reason(error)}") from error
    say({"exported": len(found), "file": str(file)} if as_json else f"wrote {file}: {len(found)} labels", as_json)


@with_options(JSON_OPTION)
@click.command("import-labels")
@click.argument("file", type=FILE)
@click.argument("dictionary")
@click.option("--as", "name", required=True, help="name to keep them under, in place of labels of that name")
@LAYER
def import_labels(file: Path, dictionary: str, name: str, layer: int | None, as_json: bool) -> None:
    """Keep the labels of FILE, which must be for kept DICTIONARY."""
    check_name(name)
    workspace = Workbench().workspace
    mine, latents = _features(dictionary, layer, workspace)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {reason(error)}") from error
    found = labels_of_lines(text, str(file), mine, latents)
    save_artifact(workspace, name, KIND, *contents(found, mine, latents))
    say({"imported": name, "labels": len(found)} if as_json else f"kept as {name!r}: {len(found)} labels", as_json)


FEATURE_COMMANDS = (export_features, export_labels, import_labels)
for command in FEATURE_COMMANDS:
    command.params.append(TRACEBACK_OPTION)


def _features(dictionary: str, layer: int | None, workspace: Path) -> tuple[str, int]:
    """(whose features, how many) of a kept dictionary. Raises InputError for a layer that it does not have."""
    artifact = load_artifact(workspace, dictionary, kept.KIND)
    found: list[Placed] = kept.latents_of(artifact)
    chosen = [one for one in found if layer is None or one.reads.layer == layer]
    if not chosen:
        layers = ", ".join(str(one.reads.layer) for one in found)
        raise InputError(f"dictionary {dictionary!r} has none for layer {layer}; it has layers {layers}")
    return features_id(artifact.revision, chosen[0]), chosen[0].dictionary.d_sae
