"""Models from a model hub, by id "org/name": safetensors, configuration and tokenizer only, copied to the workspace."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hooks.checkpoints.building import build, is_no_space
from hooks.checkpoints.local import PICKLED, WAY_OUT, check_folder, quantisation_method, read_config
from hooks.checkpoints.quiet import quiet_hub
from hooks.checkpoints.record import Checkpoint, Origin
from hooks.errors import InputError
from hooks.progress import Progress

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WANTED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
ANSWER_WITHIN_S = 10.0


def folder_name(hub_id: str) -> str:
    """The workspace folder of a hub id: "org/name" -> "hub-org--name"."""
    return "hub-" + hub_id.replace("/", "--")


def fetch_hub(hub_id: str, workspace: Path, progress: Progress) -> Checkpoint:
    """The model "org/name" in `workspace/models/hub-org--name`, downloaded on first use.

    Raises InputError, within seconds, when no hub can be reached or the id is unknown, private or gated, and when
    the model has no safetensors or needs remote code.
    """

    def make(folder: Path) -> Origin:
        from huggingface_hub import snapshot_download

        progress(0.0, f"asking the hub for {hub_id}")
        with hub_errors(hub_id):
            commit, licence, megabytes = _look_up(hub_id)
        progress(0.1, f"downloading {hub_id}: {megabytes:.0f} MB")
        with hub_errors(hub_id), quiet_hub():
            snapshot_download(hub_id, revision=commit, local_dir=folder, allow_patterns=list(_WANTED))
        remove_bookkeeping(folder)
        check_folder(folder)
        progress(0.95, "checking what was written")
        method = quantisation_method(read_config(folder))
        return Origin(hub_id, f"hub {hub_id}@{commit}", f"as configured: {method}" if method else "none", licence)

    return build(workspace, folder_name(hub_id), make, progress)


def _look_up(hub_id: str) -> tuple[str, str, float]:
    """(commit, licence, megabytes) of a hub model; one request, so that a missing hub is noticed at once."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(hub_id, timeout=ANSWER_WITHIN_S, files_metadata=True)
    files = {entry.rfilename: entry.size or 0 for entry in info.siblings or []}
    weights = [size for name, size in files.items() if "/" not in name and name.endswith(".safetensors")]
    if not weights:
        pickled = [name for name in files if name.endswith(PICKLED)]
        held = f"holds {', '.join(pickled[:3])}: {WAY_OUT}" if pickled else "has no *.safetensors"
        raise InputError(f"the hub's {hub_id!r} {held}")
    licence = getattr(info.card_data, "license", None) or "unknown"
    return str(info.sha), str(licence), sum(weights) / 1e6


_MODELS = "what works without a hub: smollm2-135m, a toy: model, a local folder, a *.gguf file"


@contextmanager
def hub_errors(hub_id: str, what: str = "model", others: str = _MODELS) -> Iterator[None]:
    """Turns what the hub client raises for a "model" or "dataset" into one line with the alternatives."""
    # HTTPError is the base class of the HTTP library that the client is built on, whichever that is.
    from huggingface_hub.errors import GatedRepoError, HFValidationError, HTTPError, RepositoryNotFoundError

    try:
        yield
    except GatedRepoError as error:
        raise InputError(f"{hub_id!r} is gated: accept its terms on the hub and log in there; {others}") from error
    except RepositoryNotFoundError as error:
        raise InputError(f"the hub has no public {what} {hub_id!r}, nor is there such a folder; {others}") from error
    except HFValidationError as error:
        raise InputError(f"{hub_id!r} is not a hub id: {error}") from error
    except (HTTPError, OSError) as error:
        if is_no_space(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"no model hub can be reached for {hub_id!r} ({reason}); {others}") from error


def remove_bookkeeping(folder: Path) -> None:
    """Delete the hidden folder in which the hub client notes what it fetched."""
    shutil.rmtree(folder / ".cache", ignore_errors=True)
