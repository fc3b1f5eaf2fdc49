"""Texts from a model hub: one file of a dataset "org/name", copied to the workspace; Parquet, JSON lines or plain text.

Nothing of a dataset is run, and only files that are read here anyway are fetched.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from hooks.checkpoints.hub import ANSWER_WITHIN_S, HUB_ID, hub_errors, remove_bookkeeping
from hooks.errors import InputError, unknown
from hooks.progress import Progress, silent

READ = (".parquet", ".jsonl", ".ndjson", ".txt")
_OTHERS = "what works without a hub: --file with your own texts, --set domains, text that the model writes itself"
_ORIGIN = "origin.json"


def fetch_texts(hub_id: str, workspace: Path, file: str | None = None, progress: Progress = silent) -> Path:
    """A file of the hub dataset "org/name", in `workspace/texts/hub-org--name/`; downloaded on first use.

    Args:
        file: its path in the dataset; without one the first of those with "train" in the name, else the first.

    Returns:
        The file, for `--file`; where it came from (commit, licence) lies beside it in origin.json.

    Raises:
        InputError: no hub can be reached, an id or file that is unknown, or a dataset without a file that can be read.
    """
    if not HUB_ID.fullmatch(hub_id):
        raise InputError(f"{hub_id!r} is not a hub id: write org/name")
    folder = workspace / "texts" / f"hub-{hub_id.replace('/', '--')}"
    if file is not None and (folder / file).is_file():
        return folder / file
    progress(0.0, f"asking the hub for {hub_id}")
    with hub_errors(hub_id, "dataset", _OTHERS):
        commit, licence, sizes = _look_up(hub_id)
    chosen = _chosen(hub_id, sizes, file)
    if not (folder / chosen).is_file():
        progress(0.1, f"downloading {chosen}: {sizes[chosen] / 1e6:.0f} MB")
        _download(hub_id, commit, chosen, folder)
        origin = {"dataset": hub_id, "commit": commit, "licence": licence}
        (folder / _ORIGIN).write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")
    return folder / chosen


def _look_up(hub_id: str) -> tuple[str, str, dict[str, int]]:
    """(commit, licence, bytes by file) of a dataset; one request, so that a missing hub is noticed at once."""
    from huggingface_hub import HfApi

    info = HfApi().dataset_info(hub_id, timeout=ANSWER_WITHIN_S, files_metadata=True)
    files = {entry.rfilename: entry.size or 0 for entry in info.siblings or []}
    return str(info.sha), str(getattr(info.card_data, "license", None) or "unknown"), files


def _chosen(hub_id: str, sizes: dict[str, int], file: str | None) -> str:
    readable = sorted(name for name in sizes if name.endswith(READ))
    if not readable:
        raise InputError(f"the hub's dataset {hub_id!r} has no file that can be read here: {', '.join(READ)}")
    if file is None:
        return next((name for name in readable if "train" in name), readable[0])
    if file not in readable:
        raise unknown(f"file of {hub_id}", file, readable)
    return file


def _download(hub_id: str, commit: str, file: str, folder: Path) -> None:
    """Into a folder beside it first, so that a file is whole or absent."""
    from huggingface_hub import hf_hub_download

    from hooks.checkpoints.quiet import quiet_hub

    making = folder.parent / f".making-{folder.name}"
    shutil.rmtree(making, ignore_errors=True)
    try:
        with hub_errors(hub_id, "dataset", _OTHERS), quiet_hub():
            hf_hub_download(hub_id, file, repo_type="dataset", revision=commit, local_dir=making)
        remove_bookkeeping(making)
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (making / file).rename(folder / file)
    finally:
        shutil.rmtree(making, ignore_errors=True)
