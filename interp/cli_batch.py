"""`interp batch FILE` and `interp rerun FIGURE`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pandas as pd

from interp.batch import check_models, read_batch, run_batch
from interp.console import JSON_OPTION, Reporter, say, with_options
from interp.rerun import rerun as make_again
from interp.targets import check_targets
from interp.workbench import Workbench


@with_options(JSON_OPTION)
@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--plan", is_flag=True, help="list the runs without running them")
def batch(file: Path, plan: bool, as_json: bool) -> None:
    """Run everything a batch file names; finished runs are not repeated, a failed one stops nothing else."""
    items, bench = read_batch(file), Workbench()
    if plan:
        check_models(items, bench.workspace)
        say(pd.DataFrame([item.as_row() for item in items]), as_json)
        return
    report = Reporter()
    table = run_batch(bench, items, report)
    report.close()
    failed = table[table["status"] == "failed"]
    say(table if as_json else table.drop(columns="error"), as_json)
    if not as_json:
        # Whole, below the table: its columns are cut to the terminal.
        for row in failed.itertuples():
            click.echo(f"failed: {row.analysis} of {row.model} with {row.inputs}: {row.error}")
    if len(failed):
        sys.exit(1)


@with_options(JSON_OPTION)
@click.command()
@click.argument("figure", type=click.Path(path_type=Path))
@click.option("--export", "target", type=click.Path(path_type=Path), help="write the figure made again here")
def rerun(figure: Path, target: Path | None, as_json: bool) -> None:
    """Make an exported figure again from the recipe inside it and compare the data; exits with 1 when it differs."""
    check_targets([target] if target else [])
    report = Reporter()
    again = make_again(Workbench(), figure, report)
    report.close()
    if target:
        again.run.export(target, again.recipe["figure"] or None)
    words = [f"{name}: {'identical' if same else 'DIFFERENT'}" for name, same in again.same.items()]
    told = {
        "figure": str(figure),
        "run": again.recipe["run"],
        "exact": again.exact,
        "frames": again.same,
        "notes": again.differences,
    }
    say(told if as_json else "\n".join([*words, *again.differences]), as_json)
    if not again.exact:
        sys.exit(1)
