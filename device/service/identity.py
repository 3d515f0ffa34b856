"""Whether two files of one name belong to one photograph: told by the reports beside them.

A photograph's report carries the digest of its frame, which never changes. So what lies in the
spool or on a server under our photograph's name is known to be ours, in an older version, or
somebody else's, without any record of what was sent when.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

KEY = "frame_sha256"
"""In the section "photograph" of a report: the digest of the bundle's untouched picture."""


def frame_sha256(bundle: Path) -> str | None:
    """The digest of a bundle's picture; None when it has none that can be read."""
    frames = sorted(bundle.glob("frame.*"))
    try:
        return sha256_of(frames[0]) if len(frames) == 1 else None
    except OSError:
        return None


def sha256_of(path: Path) -> str:
    """The digest of a file's content. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def same_photograph(report: bytes, other: bytes) -> bool:
    """Whether two reports are about one photograph; False for what is no report of ours."""
    digest = _digest(report)
    return digest is not None and digest == _digest(other)


def _digest(report: bytes) -> str | None:
    try:
        digest = json.loads(report)["photograph"][KEY]
    except (ValueError, LookupError, TypeError):
        return None
    return digest if isinstance(digest, str) and digest else None
