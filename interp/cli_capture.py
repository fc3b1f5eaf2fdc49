"""`interp capture`: keep activations of many prompts in the store."""

from __future__ import annotations

from typing import Any

import click

from hooks.plan import STORED, CapturePlan
from interp.captures import capture as keep
from interp.captures import read_prompts, sites_of
from interp.cli_run import INPUT_NAMES
from interp.console import INPUT_OPTIONS, JSON_OPTION, MODEL_OPTIONS, Reporter, say, with_options
from interp.inputs import Request
from interp.workbench import Workbench


@with_options(*(o for o in MODEL_OPTIONS), *INPUT_OPTIONS, JSON_OPTION)
@click.command()
@click.argument("name")
@click.option(
    "--site",
    "sites",
    multiple=True,
    required=True,
    help="TransformerLens name, or a kind such as resid_post; may be repeated",
)
@click.option(
    "--layer", "layers", multiple=True, type=click.IntRange(0), help="layers for kinds [default: all]; may be repeated"
)
@click.option(
    "--tokens", type=click.Choice(["all", "last"]), default="all", show_default=True, help="positions to keep"
)
@click.option(
    "--store-dtype", type=click.Choice(list(STORED)), default="float32", help="number format on disk [float32]"
)
@click.option("--prompts", "lines", metavar="FILE", help="a prompt a line, or JSONL with text")
@click.option("--plan", "plan_only", is_flag=True, help="only say what it would cost")
def capture(
    name: str, sites: tuple[str, ...], layers: tuple[int, ...], tokens: Any, store_dtype: str, lines: str | None,
    plan_only: bool, model: str, dtype: str, device: str, as_json: bool, **values: Any,
) -> None:  # fmt: skip
    """Run prompts and keep activations under NAME; a capture that was interrupted goes on where it stopped."""
    bench, report = Workbench(), Reporter()
    loaded = bench.model(model, dtype=dtype, device=device, progress=report)
    request = Request.from_dict({key: values[key] for key in INPUT_NAMES})
    prompts = read_prompts(loaded, request, lines)
    plan = CapturePlan(sites_of(loaded, sites, layers), tokens, store_dtype)
    cost = plan.cost(loaded, [loaded.encode(text) for text in prompts])
    told = (
        f"{cost.prompts} prompts, {cost.tokens} tokens, {cost.payload_bytes / 1e6:.1f} MB, about {cost.seconds:.1f} s"
    )
    if plan_only:
        report.close()
        say({"capture": name, "cost": vars(cost)} if as_json else told, as_json)
        return
    click.echo(told, err=True)
    done = keep(bench, loaded, name, prompts, plan, report)
    report.close()
    summary = {"capture": name, "prompts": done.prompts, "resumed": done.resumed, "cost": vars(cost)}
    say(
        summary if as_json else f"capture {name}: {done.prompts} prompts, {done.resumed} of them were there before",
        as_json,
    )
