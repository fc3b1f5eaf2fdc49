"""Background work: progress, results, failures, and a cancel that is honoured."""

from __future__ import annotations

import threading

from hooks.progress import Progress
from interp.jobs import Job


def test_result_and_progress() -> None:
    def work(progress: Progress) -> int:
        progress(0.5, "half")
        return 7

    job = Job(work)
    job.wait(10)
    assert (job.status, job.result, job.label, job.fraction) == ("done", 7, "half", 0.5)


def test_failure_is_kept_for_the_user() -> None:
    def work(_progress: Progress) -> None:
        raise ValueError("no such thing")

    job = Job(work)
    job.wait(10)
    assert job.status == "failed"
    assert str(job.error) == "no such thing"


def test_cancel_stops_at_the_next_step() -> None:
    begun, cancelled = threading.Event(), threading.Event()

    def work(progress: Progress) -> str:
        begun.set()
        cancelled.wait(10)
        progress(0.1, "next step")
        return "never"

    job = Job(work)
    assert begun.wait(10)
    job.cancel()
    cancelled.set()
    job.wait(10)
    assert (job.status, job.result) == ("cancelled", None)
