"""`interp run NAME` with options from the analysis' spec, and `interp export RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from analyses._plots import WIDTHS_IN
from analyses._registry import get, registry
from hooks.errors import InputError
from interp.console import INPUT_OPTIONS, JSON_OPTION, MODEL_OPTIONS, Reporter, say, with_options
from interp.export import export_format
from interp.options import given, spec_options
from interp.runs import Run
from interp.workbench import Workbench

OUTPUT_OPTIONS = (
    click.Option(
        ["--export"], multiple=True, metavar="FILE", help="write .svg .pdf .png .html .csv or .parquet; may be repeated"
    ),
    click.Option(["--figure"], help="which figure to export [default: the first]"),
    click.Option(
        ["--width"], type=click.Choice(list(WIDTHS_IN)), default="two-column", show_default=True, help="printed width"
    ),
    JSON_OPTION,
)
INPUT_NAMES = tuple(str(option.name) for option in INPUT_OPTIONS)


class AnalysisGroup(click.Group):
    """One subcommand an analysis, made from its spec when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(registry())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        analysis = get(name)
        text = (
            f"{analysis.question}\n\nNeeds {' or '.join(analysis.needs)}. {analysis.meaning} Source: {analysis.paper}."
        )
        options = (*MODEL_OPTIONS, *INPUT_OPTIONS, *spec_options(analysis.spec), *OUTPUT_OPTIONS)
        return click.Command(name, params=list(options), callback=_runner(name), help=text)


@click.command(cls=AnalysisGroup)
def run() -> None:
    """Run an analysis; `interp run NAME --help` lists its options."""


def _runner(name: str) -> Any:
    def go(model: str, dtype: str, device: str, export: tuple[str, ...], figure: str | None, width: str,
           as_json: bool, **values: Any) -> None:  # fmt: skip
        check_exports(export)
        spec = given(get(name).spec, values)
        inputs = {key: values[key] for key in INPUT_NAMES}
        bench, report = Workbench(), Reporter()
        loaded = bench.model(model, dtype=dtype, device=device, progress=report)
        done = bench.run(name, loaded, spec=spec, progress=report, **inputs)
        report.close()
        for target in export:
            for path in done.export(Path(target), figure, width):
                click.echo(f"wrote {path}", err=True)
        say(done.as_json() if as_json else _summary(done), as_json)

    return go


def check_exports(targets: tuple[str, ...]) -> None:
    """Refuse an export format that does not exist before anything is computed."""
    for target in targets:
        export_format(Path(target))


def _summary(done: Run) -> str:
    lines = [f"run {done.key} ({'opened again, computed in' if done.reused else 'computed in'} {done.seconds:.1f} s)"]
    failed = [name for name, check in done.checks.items() if check["status"] == "fail"]
    lines += [f"TRUST CHECK FAILED: {name}: {done.checks[name]['detail']}" for name in failed]
    if done.inputs.get("note"):
        lines.append(str(done.inputs["note"]))
    for name, frame in done.frames.items():
        lines += ["", f"{name}: {len(frame)} rows", frame.head(12).to_string(index=False, max_colwidth=40)]
    return "\n".join(lines)


@with_options(JSON_OPTION)
@click.command()
@click.argument("run_key", metavar="RUN")
@click.option("--to", "targets", multiple=True, required=True, metavar="FILE", help="file to write; may be repeated")
@click.option("--figure", help="which figure [default: the first]")
@click.option(
    "--width", type=click.Choice(list(WIDTHS_IN)), default="two-column", show_default=True, help="printed width"
)
@click.option(
    "--show", multiple=True, metavar="FIELD=VALUE", help="change a display option of the figure; may be repeated"
)
def export(
    run_key: str, targets: tuple[str, ...], figure: str | None, width: str, show: tuple[str, ...], as_json: bool
) -> None:
    """Export a past run, by its key or the beginning of it, without computing."""
    check_exports(targets)
    display = {}
    for pair in show:
        field, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--show {pair!r}: write FIELD=VALUE")
        display[field] = value
    done = Workbench().reopen(run_key, **display)
    written = [str(path) for target in targets for path in done.export(Path(target), figure, width)]
    say({"run": done.key, "written": written} if as_json else "\n".join(f"wrote {path}" for path in written), as_json)
