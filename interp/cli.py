"""The command line: `interp COMMAND`. One clear line and exit code 2 for bad input; progress on stderr."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from hooks.errors import Cancelled, InputError
from interp.cli_batch import batch, rerun
from interp.cli_capture import capture
from interp.cli_dictionaries import dictionaries
from interp.cli_errors import TRACEBACK_OPTION, Whole, fail
from interp.cli_features import FEATURE_COMMANDS
from interp.cli_graphs import graphs
from interp.cli_run import export, run
from interp.cli_tell import analyses, artifacts, doctor, models, runs, sets, sql
from interp.cli_texts import texts
from interp.version import VERSION


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(VERSION, prog_name="interp")
@click.option("--workspace", metavar="FOLDER", help="folder for models, captures and results [default: ./workspace]")
def cli(workspace: str | None) -> None:
    """Open a language model, see what it computes, intervene, and leave with the figure and its script."""
    if workspace:
        os.environ["INTERP_WORKSPACE"] = workspace


@cli.command()
@click.option("--port", default=8501, show_default=True, type=Whole(1, 65535), help="port on this machine")
@click.option(
    "--address", default="127.0.0.1", show_default=True, help="address to listen on; others can reach all but 127.0.0.1"
)
def app(port: int, address: str) -> None:
    """Start the browser app; its address is printed."""
    from interp.serve import serve

    sys.exit(serve(port, address))


COMMANDS = (
    models,
    analyses,
    sets,
    texts,
    capture,
    run,
    batch,
    runs,
    artifacts,
    dictionaries,
    graphs,
    sql,
    export,
    rerun,
    doctor,
)
for command in COMMANDS:
    cli.add_command(command)
for command in FEATURE_COMMANDS:
    dictionaries.add_command(command)
for command in (cli, *cli.commands.values()):
    # After the command's name as well, where it comes to mind once something has gone wrong.
    command.params.append(TRACEBACK_OPTION)


def main(arguments: list[str] | None = None) -> Any:
    """Entry point of `interp` and `python -m interp`: errors of input become one line on stderr and exit code 2."""
    os.environ["INTERP_TRACEBACK"] = ""
    try:
        return cli.main(arguments, prog_name="interp", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except (click.ClickException, InputError, OSError) as error:
        fail(error, 2)
    except (Cancelled, click.Abort, KeyboardInterrupt):
        click.echo("stopped; what was finished is kept, run the same command again to go on", err=True)
        sys.exit(130)
    except Exception as error:
        fail(error, 1)
