"""Silence for libraries that draw their own progress bars; ours is the only one shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars from transformers inside; the settings before are put back after."""
    from transformers import modeling_gguf_pytorch_utils as reading
    from transformers.utils import logging

    was_on, bar = logging.is_progress_bar_enabled(), reading.tqdm
    logging.disable_progress_bar()
    # This module draws its bar whatever the setting.
    reading.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        reading.tqdm = bar
        if was_on:
            logging.enable_progress_bar()


@contextmanager
def quiet_hub() -> Iterator[None]:
    """No progress bars from the hub client inside."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    were_off = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            enable_progress_bars()
