"""What the journal knows: photographs, jobs that wait, counts. Nothing here changes anything.

Failure policy: a file that cannot be read is a JournalError (`journal_file`); one field that is
damaged in it costs that field.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from device.service.clock import Clock, Moment
from device.service.journal_file import JournalFile
from device.service.records import Counts, JobKind, Photograph, Waiting

T = TypeVar("T", list[Mapping[str, str]], dict[str, object])

AFTER_EVERYTHING = 1
"""Priority of photographs that are restored once more."""


class JournalView:
    """The journal for looking. Raises JournalError when the file cannot be opened.

    clock : tells which start of the machine this is.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self.path = path
        self._clock = clock or Clock()
        self._boot_id = self._clock.boot_id()
        self._file = JournalFile(path)

    # --- photographs

    def photograph(self, number: int) -> Photograph | None:
        """One photograph."""
        found = self._photographs("number = ?", (number,))
        return found[0] if found else None

    def photographs(self, since: int = 0) -> list[Photograph]:
        """All photographs that were taken, from a number on, by number."""
        return self._photographs("state NOT IN ('reserved', 'missed') AND number >= ?", (since,))

    def newest(self) -> Photograph | None:
        """The photograph that was taken last."""
        found = self._photographs("state NOT IN ('reserved', 'missed')", (), -1)
        return found[0] if found else None

    def undated(self, now: Moment) -> list[Photograph]:
        """Photographs of this start of the machine whose date is not known yet."""
        return self._photographs(
            "state NOT IN ('reserved', 'missed') AND synchronised = 0 AND boot_id = ?",
            (now.boot_id,),
        )

    def never_pushed(self) -> list[Photograph]:
        """Photographs in the spool that no server has, and that nothing is to be done with."""
        return self._photographs(
            "removed = 0 AND spooled IS NOT NULL AND pushed IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.number = photographs.number)",
            (),
        )

    def removable(self, limit: int = 100) -> list[Photograph]:
        """The oldest photographs whose bundle may be deleted: delivered, and not to be kept."""
        return self._photographs(
            "removed = 0 AND keep = 0 AND spooled IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.number = photographs.number)",
            (),
            limit,
        )

    def clearable(self, limit: int = 100) -> list[Photograph]:
        """Photographs whose restored copy is no longer needed: every delivery is confirmed."""
        return self._photographs(
            "photo IS NOT NULL AND spooled IS NOT NULL AND NOT EXISTS"
            " (SELECT 1 FROM jobs WHERE jobs.number = photographs.number AND kind != 'restore')",
            (),
            limit,
        )

    # --- jobs

    def next_due_s(self, kind: JobKind) -> float | None:
        """When the next job of this kind is due, None when there is none at all."""
        with self._file.look() as db:
            row = db.execute(
                "SELECT min(CASE WHEN due_boot_id = ? THEN due_s ELSE 0 END) FROM jobs"
                " WHERE kind = ?",
                (self._boot_id, kind),
            ).fetchone()
        return None if row[0] is None else float(row[0])

    def waiting(self, kind: JobKind) -> list[Waiting]:
        """The jobs of a kind that are not done, by number."""
        with self._file.look() as db:
            rows = db.execute(
                "SELECT number, attempts, last_error,"
                " CASE WHEN due_boot_id = ? THEN due_s ELSE 0 END AS due_s"
                " FROM jobs WHERE kind = ? ORDER BY priority, number",
                (self._boot_id, kind),
            ).fetchall()
        return [
            Waiting(row["number"], kind, row["attempts"], row["last_error"], row["due_s"])
            for row in rows
        ]

    def counts(self) -> Counts:
        """How much there is and how much is to be done."""
        with self._file.look() as db:
            waiting: dict[JobKind, int] = {"restore": 0, "spool": 0, "push": 0}
            again = 0
            for row in db.execute("SELECT kind, count(*), sum(priority) FROM jobs GROUP BY kind"):
                waiting[row[0]] = row[1]
                again += row[2] // AFTER_EVERYTHING
            taken, set_aside = db.execute(
                "SELECT count(*), coalesce(sum(state = 'set-aside'), 0) FROM photographs"
                " WHERE state NOT IN ('reserved', 'missed')"
            ).fetchone()
        return Counts(taken, waiting, again, set_aside)

    def last_error(self, kind: JobKind) -> str | None:
        """Why the first waiting job of a kind failed last, None where none did."""
        with self._file.look() as db:
            row = db.execute(
                "SELECT last_error FROM jobs WHERE kind = ? AND last_error IS NOT NULL"
                " ORDER BY priority, number LIMIT 1",
                (kind,),
            ).fetchone()
        return None if row is None else str(row[0])

    def _photographs(
        self, where: str, values: tuple[object, ...], limit: int | None = None
    ) -> list[Photograph]:
        """By number; a negative limit counts from the newest."""
        order = "DESC" if limit is not None and limit < 0 else "ASC"
        with self._file.look() as db:
            rows = db.execute(
                "SELECT *, (SELECT group_concat(kind) FROM jobs"
                " WHERE jobs.number = photographs.number) AS pending FROM photographs"
                f" WHERE {where} ORDER BY number {order} LIMIT ?",
                (*values, -1 if limit is None else abs(limit)),
            ).fetchall()
        return [_photograph(row) for row in rows]


def _photograph(row: sqlite3.Row) -> Photograph:
    return Photograph(
        number=row["number"],
        state=row["state"],
        pressed=Moment(row["wall_ns"], row["boot_ns"], row["boot_id"], bool(row["synchronised"])),
        bracket=row["bracket"],
        bundle=path_or_none(row["bundle"]),
        warnings=tuple(_plain(row["warnings"], list)),
        photo=path_or_none(row["photo"]),
        report=path_or_none(row["report"]),
        facts=_plain(row["facts"], dict),
        reason=row["reason"],
        keep=bool(row["keep"]),
        spooled=row["spooled"],
        pushed=row["pushed"],
        removed=bool(row["removed"]),
        pending=tuple(row["pending"].split(",")) if row["pending"] else (),
    )


def _plain(text: str, kind: type[T]) -> T:
    """What was written as JSON; nothing of its kind where the text is damaged."""
    try:
        value = json.loads(text)
    except ValueError:
        return kind()
    return value if isinstance(value, kind) else kind()


def path_or_none(text: str | None) -> Path | None:
    """A path as it was written down."""
    return None if text is None else Path(text)
