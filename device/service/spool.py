"""The spool: the folder users fetch photographs from (`scp -r camera:spool .`), whole files only.

Failure policy
- A file is written under a hidden temporary name, synced, and then gets its own name: whoever
  copies from the spool at any instant copies whole files. What a crash leaves is hidden, and
  `clear_leftovers` takes it away at the next start.
- Putting a file again is fine and writes nothing. Another file of that name is never overwritten
  unless the caller says that it is to be replaced: an InputError names it.
- A full or read-only disk is an OSError; nothing is half there, and the source is untouched.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from device.errors import InputError
from device.service.identity import sha256_of
from firmware_bridge.whole_file import remove_leftovers, whole_file


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


def put(spool: Path, *sources: Path, replace: bool = False) -> tuple[Path, ...]:
    """Put files into the spool under their own names, one after the other; their places there.

    sources : files; a folder (a bundle NAME.capture) becomes the one file NAME.capture.tar. Give
        the photograph last: whoever sees it then finds what belongs to it, too.
    replace : what lies there under such a name is an older version and may go.
    Raises InputError for another file of such a name, OSError when one cannot be written.
    """
    spool.mkdir(parents=True, exist_ok=True)
    return tuple(_put_one(spool, source, replace) for source in sources)


def name_in_spool(source: Path) -> str:
    """What a file or a bundle is called in the spool."""
    return f"{source.name}.tar" if source.is_dir() else source.name


def clear_leftovers(spool: Path) -> None:
    """Remove what a crash left half-written; only while nothing is being put."""
    remove_leftovers(spool)


def what_to_do(error: OSError, spool: Path) -> str:
    """About a disk that refuses, to follow the reason; nothing where nothing can be said."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f": fetch photographs from {spool} and delete them there"
    if error.errno == errno.EROFS:
        return ": the card may be failing; save what is on it and replace it"
    if error.errno in (errno.EACCES, errno.EPERM):
        return ": give the folder to the service's user (chown -R stillpi)"
    return ""


def _put_one(spool: Path, source: Path, replace: bool) -> Path:
    target = spool / name_in_spool(source)
    if target.exists():
        digest = _Digest()
        _write(source, digest)
        if sha256_of(target) == digest.sha256.hexdigest():
            return target
        if not replace:
            found = "another file of that name"
            raise InputError(target, "file", found, f"none, or the same as {source}: move it away")
    try:
        with whole_file(target) as file:
            _write(source, file)
    except OSError as error:
        if error.filename and Path(error.filename).parent != spool:
            raise  # the source's
        # The person knows the final name, not the temporary one.
        raise OSError(error.errno, error.strerror or str(error), str(target)) from error
    return target


def _write(source: Path, sink: _Sink) -> None:
    """The file's bytes, or the folder's as a tar archive that is the same every time."""
    if not source.is_dir():
        with source.open("rb") as file:
            shutil.copyfileobj(file, sink, 1 << 20)
        return
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for path in _files_in(source):
            entry = archive.gettarinfo(path, str(path.relative_to(source.parent)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mode, entry.mtime = 0o644, int(entry.mtime)
            with path.open("rb") as file:
                archive.addfile(entry, file)


def _files_in(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


class _Digest:
    """A file to write to that keeps nothing but the digest."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        self.sha256.update(data)
        return len(data)
