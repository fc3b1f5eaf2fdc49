"""`interp texts`: a file of texts from a model hub, to be named with `--file`."""

from __future__ import annotations

import click

from hooks.checkpoints.hub_texts import fetch_texts
from interp.console import JSON_OPTION, Reporter, say, with_options
from interp.workbench import Workbench


@with_options(JSON_OPTION)
@click.command()
@click.argument("dataset", metavar="ORG/NAME")
@click.option("--file", help="its path in the dataset [default: the first with 'train' in its name]")
def texts(dataset: str, file: str | None, as_json: bool) -> None:
    """Copy one file of the hub dataset ORG/NAME to the workspace and say where, for --file of other commands."""
    workspace = Workbench().workspace
    found = str(fetch_texts(dataset, workspace, file, Reporter()))
    say({"file": found} if as_json else found, as_json)
