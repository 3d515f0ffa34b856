"""The journal's file: one sqlite database, every commit synced, damage put aside.

Failure policy
- A full or read-only disk, a lock that is held for long: JournalError, and the transaction has not
  happened.
- A file that sqlite cannot read any more is renamed when it is opened (nothing is deleted) and
  begun anew. Damage found later is a JournalError too: the next start of the service renames it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device.errors import StillpiError

_log = logging.getLogger(__name__)

VERSION = 1
_LOCK_WAIT_S = 10.0
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_OF_THE_DISK = _DAMAGED | {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY,
}  # fmt: skip
_ERRORS = (sqlite3.DatabaseError, UnicodeDecodeError)
"""The second where sqlite names something damaged in its message."""

_SCHEMA = (
    """CREATE TABLE photographs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice, not even after a removal
        state TEXT NOT NULL,
        wall_ns INTEGER NOT NULL,                 -- the press, corrected once the date is known
        boot_ns INTEGER NOT NULL,
        boot_id TEXT NOT NULL,
        synchronised INTEGER NOT NULL,
        bracket INTEGER,
        bundle TEXT,
        warnings TEXT NOT NULL DEFAULT '[]',
        photo TEXT,
        report TEXT,
        facts TEXT NOT NULL DEFAULT '{}',
        reason TEXT,
        keep INTEGER NOT NULL DEFAULT 0,
        spooled TEXT,
        pushed TEXT,
        removed INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        number INTEGER NOT NULL REFERENCES photographs,
        kind TEXT NOT NULL,
        priority INTEGER NOT NULL DEFAULT 0,
        model TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        interrupted INTEGER NOT NULL DEFAULT 0,
        running INTEGER NOT NULL DEFAULT 0,
        due_s REAL NOT NULL DEFAULT 0,
        due_boot_id TEXT NOT NULL DEFAULT '',
        last_error TEXT,
        UNIQUE (number, kind)
    )""",
    "CREATE INDEX jobs_in_order ON jobs (kind, priority, number)",
    "INSERT INTO sqlite_sequence (name, seq) VALUES ('photographs', 0)",
)


class JournalError(StillpiError, OSError):
    """The journal cannot be read or written now: the disk is full, read-only, or locked."""


class JournalFile:
    """The open database; safe to use from several threads.

    Raises JournalError when it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection = self._open_whole()

    def close(self) -> None:
        """Close the file; twice is fine."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed when the block ends well, otherwise as if never begun."""
        with self._lock, _disk_errors(self.path):
            db = self._connection
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # sqlite itself rolls back when the disk is full
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def look(self) -> Iterator[sqlite3.Connection]:
        """Reading only."""
        with self._lock, _disk_errors(self.path):
            yield self._connection

    def _open_whole(self) -> sqlite3.Connection:
        """Open the file; one that is damaged is put aside and begun anew."""
        with _disk_errors(self.path):
            try:
                return self._open()
            except _ERRORS as error:
                if _code(error) in _OF_THE_DISK - _DAMAGED:
                    raise
                aside, why = _free_name(self.path), " ".join(str(error).split())
                _log.error("%s is damaged (%s): renamed to %s", self.path, why, aside.name)
                for suffix in ("-wal", "-shm", ""):  # a log without its file would spoil the new
                    part = Path(f"{self.path}{suffix}")
                    if part.exists():
                        part.rename(f"{aside}{suffix}")
                return self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            # Damaged text is to be noticed by what reads it, not to end the service.
            connection.text_factory = lambda text: text.decode(errors="replace")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(str(found))
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
        if version not in (0, VERSION):
            raise JournalError(
                f"{self.path}: found version {version}, expected {VERSION}:"
                " it was written by another version of stillpi"
            )
        written = {row[0] for row in connection.execute("SELECT sql FROM sqlite_master")}
        if not set(_SCHEMA[:3]) <= written:
            raise sqlite3.DatabaseError("its tables are not those of a journal")


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn what sqlite says of the disk into a JournalError; misuse of it stays a bug."""
    try:
        yield
    except _ERRORS as error:
        if _code(error) in _OF_THE_DISK:
            raise JournalError(f"{path}: {error}") from error
        raise


def _code(error: sqlite3.DatabaseError | UnicodeDecodeError) -> int:
    """What sqlite's error is about, without the details in its higher bits."""
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF
