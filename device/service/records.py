"""What the journal tells of photographs and of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from device.service.clock import Moment

JobKind = Literal["restore", "spool", "push"]
State = Literal["reserved", "missed", "taken", "restored", "set-aside"]


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do for a photograph.

    attempts : failures so far, of a restoration those that count. interrupted : how often the
        service died while it ran.
    photo, report : the results to deliver, as far as there are any; for kind restore those of an
        earlier restoration. model : the folder of the model to restore with, None for the
        configured one. last_error : why it failed last.
    """

    id: int
    number: int
    kind: JobKind
    attempts: int
    interrupted: int
    bundle: Path
    photo: Path | None
    report: Path | None
    model: str | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Photograph:
    """What is known of one photograph.

    pressed : when; its date is corrected once it is known (`pressed.synchronised`).
    bracket : the number of the first photograph of the bracket it belongs to.
    warnings : what was noticed when it was taken. facts : of its restoration, for the status.
    reason : why it was missed, set aside, or not restored once more.
    keep : never to be removed. spooled, pushed : where its copies are.
    removed : its bundle was deleted. pending : kinds of jobs that are not done yet.
    """

    number: int
    state: State
    pressed: Moment
    bracket: int | None
    bundle: Path | None
    warnings: tuple[Mapping[str, str], ...]
    photo: Path | None
    report: Path | None
    facts: Mapping[str, Any]
    reason: str | None
    keep: bool
    spooled: str | None
    pushed: str | None
    removed: bool
    pending: tuple[JobKind, ...]

    @property
    def is_delivered(self) -> bool:
        """Whether its copies are confirmed and nothing is left to be done."""
        return self.spooled is not None and not self.pending


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that is not done. attempts, last_error : as in Job.

    due_s : when it is to be tried, seconds of CLOCK_BOOTTIME; in the past: in its turn.
    """

    number: int
    kind: JobKind
    attempts: int
    last_error: str | None
    due_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """A restoration's files, written and synced. facts : plain JSON, for the status."""

    photo: Path
    report: Path
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counts:
    """waiting : jobs of each kind that are not done; again : of them, restorations once more.

    set_aside : photographs that were not restored.
    """

    photographs: int
    waiting: Mapping[JobKind, int]
    again: int
    set_aside: int

    @property
    def backlog(self) -> int:
        """Jobs that are not done."""
        return sum(self.waiting.values())
