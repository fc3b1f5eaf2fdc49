"""Page = script: the same run as a command line, a Python snippet and a batch file."""

from __future__ import annotations

import pprint
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from analyses._contract import Spec


def command_line(analysis: str, model: Mapping[str, str], inputs: Mapping[str, Any], spec: Spec) -> str:
    """The `interp run …` that gives this run, quoted for a POSIX shell; options at their defaults are left out."""
    words = ["interp", "run", analysis, "--model", model["spec"]]
    if model.get("dtype", "float32") != "float32":
        words += ["--dtype", model["dtype"]]
    for name, value in asked(inputs).items():
        words += [f"--{name}", str(value)]
    for name, value in changed(spec).items():
        words += option(name, value)
    return shlex.join(words)


def option(name: str, value: Any) -> list[str]:
    """One spec field as command-line words; tuples repeat their option, switches have a `--no-` form."""
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{name.replace('_', '-')}"]
    if isinstance(value, list | tuple):
        return [word for one in value for word in (flag, str(one))]
    return [] if value is None else [flag, str(value)]


def python_snippet(analysis: str, model: Mapping[str, str], inputs: Mapping[str, Any], spec: Spec) -> str:
    """The same run as a Python script against the public API."""
    lines = ["from interp.workbench import Workbench", "", "bench = Workbench()"]
    dtype = "" if model.get("dtype", "float32") == "float32" else f", dtype={model['dtype']!r}"
    lines.append(f"model = bench.model({model['spec']!r}{dtype})")
    lines += ["run = bench.run(", f"    {analysis!r},", "    model,"]
    lines += [f"    {name}={value!r}," for name, value in asked(inputs).items()]
    if options := changed(spec):
        lines.append(f"    spec={pprint.pformat(options, compact=True, width=100)},")
    return "\n".join([*lines, ")", "name, figure = run.figure()", "run.export('figure.svg')", "print(run.frames)"])


def batch_file(analysis: str, model: Mapping[str, str], inputs: Mapping[str, Any], spec: Spec) -> str:
    """The same run as a batch file; more models, inputs and values of options can be added to its lists."""
    content = {
        "models": [{"model": model["spec"], "dtype": model.get("dtype", "float32")}],
        "inputs": [asked(inputs)],
        "analyses": [{"analysis": analysis, "spec": changed(spec)}],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def asked(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs as they were asked for: the request when one was kept, else the prompt or pair itself."""
    if inputs.get("request"):
        return dict(inputs["request"])
    if "prompt" in inputs:
        return {"prompt": inputs["prompt"]}
    return {k: v for k, v in inputs["pairs"][0].items() if k != "label"}


def changed(spec: Spec) -> dict[str, Any]:
    """The options that differ from their defaults, as plain JSON."""
    defaults = type(spec)().model_dump(mode="json")
    return {name: value for name, value in spec.model_dump(mode="json").items() if value != defaults[name]}
