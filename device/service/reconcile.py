"""The first thing at every start: the disk and the journal are made to agree.

    - One service runs on a state folder: the lock tells.
    - What a dead process left half-written under hidden names is removed.
    - Bundles that are whole on the disk and unknown to the journal are entered: the service died
      between the two. Numbers that were reserved and have no bundle were never answered.
    - Jobs that were running are due again.
    - Numbers of files that exist are never given again, even if the journal was lost.

Failure policy: what cannot be removed or read is logged and left; a disk that cannot be written
ends the start with an OSError, and systemd tries again.
"""

from __future__ import annotations

import fcntl
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from device.errors import StillpiError
from device.service.journal import Journal
from device.service.names import Folders, number_of
from firmware_bridge.whole_file import remove_leftovers

_log = logging.getLogger(__name__)

_HALF_A_BUNDLE = re.compile(r"\.IMG_\d{6,}\.capture\.\w+")


class AlreadyRunningError(StillpiError, RuntimeError):
    """Another service runs on this state folder."""


@contextmanager
def only_one(folders: Folders) -> Iterator[None]:
    """Keep others off the state folder. Raises AlreadyRunningError."""
    with (folders.state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(
                f"{folders.state}: the service runs already (systemctl status stillpi)"
            ) from None
        yield


def reconcile(journal: Journal, folders: Folders) -> None:
    """Make disk and journal agree; to be called with the lock held, before anything is started.

    Raises OSError, JournalError.
    """
    _remove_temporaries(folders)
    reserved = journal.resume()
    adopted = _adopt(journal, folders)
    for number in reserved:
        if number not in adopted:
            journal.missed(number, "the service ended before the photograph was on the disk")
    _remove_strays(journal, folders)
    for photograph in journal.photographs():
        gone = photograph.bundle is not None and not photograph.bundle.exists()
        if gone and photograph.is_delivered and not photograph.removed:
            journal.removed(photograph.number)


def _remove_temporaries(folders: Folders) -> None:
    for path in folders.photos.iterdir():
        if _HALF_A_BUNDLE.fullmatch(path.name):
            _log.warning("%s: half a bundle of a service that died: removed", path.name)
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(folders.work, ignore_errors=True)
    folders.make()
    for folder in (folders.results, folders.spool):
        remove_leftovers(folder)


def _adopt(journal: Journal, folders: Folders) -> set[int]:
    adopted: set[int] = set()
    highest = 0
    for folder in (folders.photos, folders.results, folders.spool):
        for path in sorted(folder.iterdir()):
            highest = max(highest, number_of(path.name.partition(".")[0]) or 0)
            if folder == folders.photos and path.suffix == ".capture":
                number = journal.adopt(path)
                if number is not None:
                    _log.warning("%s was not in the journal: entered", path.name)
                    adopted.add(number)
    journal.begin_after(highest)
    return adopted


def _remove_strays(journal: Journal, folders: Folders) -> None:
    """Results that no photograph waits for: an older suffix, or one that was delivered."""
    for path in folders.results.iterdir():
        number = number_of(path.stem)
        photograph = None if number is None else journal.photograph(number)
        if number is not None and (
            photograph is None or path not in (photograph.photo, photograph.report)
        ):
            path.unlink(missing_ok=True)
