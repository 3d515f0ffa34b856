"""Where the service keeps things, and what a photograph's files are called.

    STATE/journal.sqlite  what is known of every photograph, and what is to be done with it
    STATE/photos/         the bundles as taken, IMG_000001.capture (output.folder)
    STATE/work/           where a restoration is being written; emptied at every start
    STATE/results/        restored photographs and reports until they are delivered
    STATE/spool/          what users fetch
    STATE/cache/          what can be found out again: self-tests of models
    STATE/models/current  the newest model that was sent to this camera

Names are counted, not dated: a Pi without a clock battery cannot trust its dates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"IMG_(\d{6,})(?:\.capture)?")


def photo_name(number: int) -> str:
    """IMG_000012: what all files of a photograph are called before their suffix."""
    return f"IMG_{number:06d}"


def bundle_name(number: int) -> str:
    """IMG_000012.capture."""
    return f"{photo_name(number)}.capture"


def number_of(name: str) -> int | None:
    """The number in a name that photo_name or bundle_name gave; None for any other name.

    >>> number_of("IMG_000012.capture"), number_of("IMG_0012.capture"), number_of("holiday")
    (12, None, None)
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    number = int(found[1])
    return number if name in (photo_name(number), bundle_name(number)) else None


@dataclass(frozen=True, slots=True)
class Folders:
    """The service's folders. photos may lie elsewhere, on a larger disk."""

    state: Path
    photos: Path

    @property
    def journal(self) -> Path:
        """The durable queue."""
        return self.state / "journal.sqlite"

    @property
    def work(self) -> Path:
        """What is being written."""
        return self.state / "work"

    @property
    def results(self) -> Path:
        """What is to be delivered."""
        return self.state / "results"

    @property
    def spool(self) -> Path:
        """What users fetch."""
        return self.state / "spool"

    @property
    def cache(self) -> Path:
        """What can be found out again."""
        return self.state / "cache"

    @property
    def sent_model(self) -> Path:
        """The newest model that was sent to this camera; may not be there."""
        return self.state / "models" / "current"

    def make(self) -> None:
        """Make those that are missing. Raises OSError."""
        for folder in (self.photos, self.work, self.results, self.spool):
            folder.mkdir(parents=True, exist_ok=True)
