"""A photograph's files onto a server: whole, confirmed, and never over somebody else's.

A file is sent under a hidden name, flushed to the server's disk, its size is compared, and only
then it gets its name. A name that exists there is fine with the same content; with other content
it is replaced only if the report beside it says that it is an older version of this photograph.
The report goes first: once it stands there, the name is this photograph's.

Failure policy: every failure is a PushError and nothing is half there under its final name; what
was sent stays. Sending again goes on where it ended, so a crash at any instant costs nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from device.service.identity import same_photograph, sha256_of
from device.service.push_errors import PushError, explain, place
from device.service.sftp import SftpSession, quoted

LONGEST_REPORT = 10_000_000
"""Bytes; what is longer is no report of ours and not worth fetching."""


def push(session: SftpSession, report: Path, others: Sequence[Path] = ()) -> None:
    """Send a photograph's report, then its other files; what is there already is not sent again.

    Returns when all of them are confirmed. Raises PushError; its reason is "name" when a file of
    such a name there is not this photograph's. Raises OSError when a file cannot be read here.
    """
    ours = _is_ours(session, report)
    missing = [file for file in (report, *others) if not _is_there(session, file, ours)]
    for file in missing:
        _send(session, file, replace=ours)


def part_name(file: Path) -> str:
    """What a file is called on the server while it is sent.

    Its content is in the name: another camera's file of the same name never gets into ours.
    """
    return f".{file.name}.{sha256_of(file)[:12]}.part"


def _is_ours(session: SftpSession, report: Path) -> bool:
    """Whether the report there is about the same photograph."""
    size = session.size_of(report.name)
    if size is None or size > LONGEST_REPORT:
        return False
    with tempfile.TemporaryDirectory() as folder:
        fetched = _fetch(session, report.name, size, Path(folder))
        return same_photograph(report.read_bytes(), fetched.read_bytes())


def _is_there(session: SftpSession, file: Path, ours: bool) -> bool:
    """Whether a file of that name and content is there; other content must be ours to replace."""
    theirs, size = session.size_of(file.name), file.stat().st_size
    if theirs is None:
        return False
    if theirs == size and _same_content(session, file, size):
        return True
    if not ours:
        raise PushError(
            "name",
            f"{place(session.server)}: {file.name} is there already with other content"
            f" ({theirs} bytes, here {size}): move it away there, or give this camera a folder"
            " of its own (delivery.push.folder)",
        )
    return False


def _same_content(session: SftpSession, file: Path, size: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return sha256_of(_fetch(session, file.name, size, Path(folder))) == sha256_of(file)


def _fetch(session: SftpSession, name: str, size: int, folder: Path) -> Path:
    local = folder / "fetched"
    session.do(f"get {quoted(name)} {quoted(str(local))}", size)
    return local


def _send(session: SftpSession, file: Path, *, replace: bool) -> None:
    size, part = file.stat().st_size, part_name(file)
    said = session.do(f"put -f {quoted(str(file))} {quoted(part)}", size)
    arrived = session.size_of(part)
    if arrived != size:
        raise explain(session.server, f"write remote: {arrived or 0} of {size} bytes arrived")
    if any("fsync" in line for line in said):  # sftp tells, but does not count it as a failure
        raise explain(session.server, said[-1])
    # -l: the plain SFTP operation, which does not replace a file.
    flag = "" if replace else "-l "
    session.do(f"rename {flag}{quoted(part)} {quoted(file.name)}")
