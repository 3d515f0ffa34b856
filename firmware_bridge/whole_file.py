"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_TEMPORARY_PREFIX = ".stillpi-"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that gets its name, synced, when the block ends well; else nothing is left.

    Raises OSError, with the temporary name where the system names a file.
    """
    temporary = path.parent / f"{_TEMPORARY_PREFIX}{secrets.token_hex(6)}.part"
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half-written; only while nobody writes into the folder."""
    for path in folder.glob(f"{_TEMPORARY_PREFIX}*.part"):
        path.unlink(missing_ok=True)
