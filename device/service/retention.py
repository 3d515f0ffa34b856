"""Room for photographs: what was delivered goes, oldest first; without room none is taken.

    older than keep_days        its bundle goes, and what is left of it in the spool
    less than free_mb are free  the same for the oldest, until enough is free again
    less than floor_mb are free no photograph is taken (`room_for_a_photograph`)

What counts as delivered: what the server confirmed. Nobody can know what was fetched from the
spool; a photograph that was never pushed counts as fetched when it was taken away from there and,
if keep_days is given, when that time is over. A photograph marked `keep` stays, and so does every
one that a job still waits for.

Failure policy
- The bundle first gets a hidden name, then the journal learns of it, then it is deleted: a crash
  in between leaves nothing that looks whole and is not.
- Dates decide only where the clock is synchronised and was at the press: a clock that jumps
  deletes nothing.
- What cannot be deleted is an OSError for the caller; the rest stays as it is.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from device.config_service import RetentionConfig
from device.service.clock import Moment
from device.service.journal import Journal
from device.service.machine import free_mb
from device.service.names import Folders, number_of, photo_name
from device.service.records import Photograph

_log = logging.getLogger(__name__)

DAY_NS = 86_400 * 10**9
_GONE = ".gone"
_ALL = 10_000_000


def room_for_a_photograph(
    config: RetentionConfig, folders: Folders, *, free_mb: Callable[[Path], float | None] = free_mb
) -> str | None:
    """Why no photograph may be taken now and what to do about it; None when there is room."""
    for folder in (folders.photos, folders.state):
        free = free_mb(folder)
        if free is None:
            return f"{folder} cannot be used: is its disk mounted?"
        if free < config.floor_mb:
            return (
                f"only {free:.0f} MB are free on the disk of {folder}, {config.floor_mb} MB are"
                f" needed: fetch photographs from {folders.spool} and delete them there"
            )
        if not os.access(folder, os.W_OK):
            return (
                f"{folder} cannot be written: its disk is read-only (a failing card?) or it"
                " belongs to another user (chown -R stillpi)"
            )
    return None


def enforce(
    journal: Journal,
    config: RetentionConfig,
    folders: Folders,
    now: Moment,
    *,
    free_mb: Callable[[Path], float | None] = free_mb,
) -> list[int]:
    """Delete what may go and has to; the numbers of those photographs.

    Raises OSError, JournalError.
    """

    def is_tight() -> bool:
        free = (free_mb(folders.photos), free_mb(folders.state))
        return any(mb is not None and mb < config.free_mb for mb in free)

    _finish(folders)
    tight = is_tight()
    removed: list[int] = []
    if not tight and config.keep_days is None:
        return removed
    waiting = _waiting_in_spool(folders)
    for photograph in journal.removable(_ALL):
        too_old = _is_older(photograph, now, config.keep_days)
        fetched = photograph.pushed is not None or photograph.number not in waiting
        if too_old or (tight and fetched):
            _remove(journal, folders, photograph)
            removed.append(photograph.number)
            _log.info("%s deleted: %s", photo_name(photograph.number), "age" if too_old else "room")
            tight = is_tight()
    return removed


def _is_older(photograph: Photograph, now: Moment, keep_days: float | None) -> bool:
    """Whether its time is over, as far as both dates are known."""
    if keep_days is None or not (now.synchronised and photograph.pressed.synchronised):
        return False
    return now.wall_ns - photograph.pressed.wall_ns > keep_days * DAY_NS


def _waiting_in_spool(folders: Folders) -> set[int | None]:
    """Numbers of photographs more of which than the report waits to be fetched."""
    files = (path.name for path in folders.spool.iterdir() if path.suffix != ".json")
    return {number_of(name.partition(".")[0]) for name in files}


def _remove(journal: Journal, folders: Folders, photograph: Photograph) -> None:
    bundle, name = photograph.bundle, photo_name(photograph.number)
    if bundle is not None and bundle.exists():
        bundle.rename(bundle.with_name(f".{bundle.name}{_GONE}"))
    for path in folders.spool.glob(f"{name}.*"):
        path.unlink()
    journal.removed(photograph.number)
    _finish(folders)


def _finish(folders: Folders) -> None:
    """Delete what has its hidden name already."""
    for folder in folders.photos.glob(f".IMG_*.capture{_GONE}"):
        shutil.rmtree(folder)
