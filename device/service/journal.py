"""The journal: what is known of every photograph and what is still to be done with it.

One sqlite file (WAL, every commit synced), one transaction a method. A photograph's life:

    reserve() -> taken() -> restored() or set_aside() -> spooled() -> pushed() -> removed()
              or missed()

and its jobs, at most one of each kind:

    restore, from taken() on  ->  spool  ->  push, where a server is configured

A job is returned by next_job() again and again until the method that ends it was called: whatever
dies in between, the job is done again. One worker a kind. Everything is ordered by the
photographs' numbers; what waits, waits on CLOCK_BOOTTIME and for no longer than this start of the
machine, so neither a clock that jumps nor a power cut stalls a job.

Failure policy
- What a method has returned from survives a power cut. What it raised has not happened.
- A full or read-only disk, a lock that is held for long: JournalError; the caller goes on later.
- A file that is damaged is put aside and begun anew (`journal_file`); the bundles on the disk are
  then adopted, restored and delivered again, under their old names.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

from device.service.clock import Clock, Moment
from device.service.journal_file import JournalError, JournalFile
from device.service.names import number_of
from device.service.records import Counts, Job, JobKind, Photograph, Result, State

__all__ = ["Counts", "Job", "JobKind", "Journal", "JournalError", "Photograph", "Result", "State"]

T = TypeVar("T", list[Mapping[str, str]], dict[str, object])

_AFTER_EVERYTHING = 1  # priority of photographs that are restored once more


class Journal:
    """Safe to use from several threads, and from several processes.

    clock : tells when photographs are pressed and which start of the machine this is.

    Raises JournalError when the file cannot be opened.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self.path = path
        self._clock = clock or Clock()
        self._boot_id = self._clock.boot_id()
        self._file = JournalFile(path)

    def close(self) -> None:
        """Close the file; twice is fine."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- taking photographs

    def reserve(self, *, bracket: int | None = None) -> int:
        """The number of the photograph that is taken now; the moment is written down with it.

        bracket : the number of the bracket's first photograph, for the others of it.
        """
        now = self._clock.now()
        with self._file.change() as db:
            row = db.execute(
                "INSERT INTO photographs (state, wall_ns, boot_ns, boot_id, synchronised, bracket)"
                " VALUES ('reserved', ?, ?, ?, ?, ?)",
                (now.wall_ns, now.boot_ns, now.boot_id, now.synchronised, bracket),
            )
            assert row.lastrowid is not None
            return row.lastrowid

    def taken(self, number: int, bundle: Path, warnings: Sequence[Mapping[str, str]] = ()) -> None:
        """The bundle of a reserved number is whole on the disk: it is to be restored.

        warnings : what was noticed, as Notice.to_json gives it.
        """
        with self._file.change() as db:
            self._enter(db, number, bundle, warnings)

    def missed(self, number: int, reason: str) -> None:
        """A reserved number became no photograph."""
        with self._file.change() as db:
            db.execute(
                "UPDATE photographs SET state = 'missed', reason = ?"
                " WHERE number = ? AND state = 'reserved'",
                (reason, number),
            )

    def adopt(self, bundle: Path) -> int | None:
        """Enter a bundle found on the disk, if the journal does not know it; its number then.

        None when it is known, or when its name was not given by this service.
        """
        number = number_of(bundle.name)
        if number is None:
            return None
        with self._file.change() as db:
            row = db.execute(
                "SELECT state, bundle FROM photographs WHERE number = ?", (number,)
            ).fetchone()
            if row is not None and row["state"] not in ("reserved", "missed"):
                if row["bundle"] != str(bundle) and not Path(row["bundle"]).exists():
                    db.execute(
                        "UPDATE photographs SET bundle = ? WHERE number = ?", (str(bundle), number)
                    )
                return None
            if row is None:
                # Nothing is known of the press but the date of the folder.
                db.execute(
                    "INSERT INTO photographs"
                    " (number, state, wall_ns, boot_ns, boot_id, synchronised)"
                    " VALUES (?, 'reserved', ?, 0, '', 0)",
                    (number, bundle.stat().st_mtime_ns),
                )
            self._enter(db, number, bundle, ())
            return number

    def begin_after(self, number: int) -> None:
        """Never give this number or a lower one again: files of that name exist already."""
        with self._file.change() as db:
            db.execute(
                "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'photographs'",
                (number,),
            )

    def _enter(
        self,
        db: sqlite3.Connection,
        number: int,
        bundle: Path,
        warnings: Sequence[Mapping[str, str]],
    ) -> None:
        changed = db.execute(
            "UPDATE photographs SET state = 'taken', bundle = ?, warnings = ?, reason = NULL"
            " WHERE number = ? AND state IN ('reserved', 'missed')",
            (str(bundle), json.dumps([dict(warning) for warning in warnings]), number),
        ).rowcount
        if changed != 1:
            raise ValueError(f"photograph {number} was not reserved")
        _request(db, number, "restore")

    # --- doing what is to be done

    def next_job(self, kind: JobKind, now_s: float) -> Job | None:
        """The job of this kind that is due with the lowest number; None when there is none.

        now_s : seconds of CLOCK_BOOTTIME (`clock.boot_s`), here and wherever a job is due.
        Photographs that are to be restored once more come after all others.
        """
        with self._file.look() as db:
            row = db.execute(
                "SELECT jobs.id, number, kind, attempts, interrupted, running, bundle, photo,"
                " report, model, last_error FROM jobs JOIN photographs USING (number)"
                " WHERE kind = ? AND (due_s <= ? OR due_boot_id != ?)"
                " ORDER BY priority, number LIMIT 1",
                (kind, now_s, self._boot_id),
            ).fetchone()
        if row is None:
            return None
        if not row["running"]:
            with self._file.change() as db:
                db.execute("UPDATE jobs SET running = 1 WHERE id = ?", (row["id"],))
        return Job(
            id=row["id"],
            number=row["number"],
            kind=row["kind"],
            attempts=row["attempts"],
            interrupted=row["interrupted"],
            bundle=Path(row["bundle"]),
            photo=_path(row["photo"]),
            report=_path(row["report"]),
            model=row["model"],
            last_error=row["last_error"],
        )

    def next_due_s(self, kind: JobKind) -> float | None:
        """When the next job of this kind is due, None when there is none at all."""
        with self._file.look() as db:
            row = db.execute(
                "SELECT min(CASE WHEN due_boot_id = ? THEN due_s ELSE 0 END) FROM jobs"
                " WHERE kind = ?",
                (self._boot_id, kind),
            ).fetchone()
        return None if row[0] is None else float(row[0])

    def failed(self, job: Job, reason: str, retry_at_s: float | None = None) -> None:
        """The job did not succeed.

        retry_at_s : when to try again, which does not count (a full disk, a server that is
            down); None counts as an attempt of the job and makes it due at once.
        """
        with self._file.change() as db:
            db.execute(
                "UPDATE jobs SET running = 0, attempts = attempts + ?, due_s = ?, due_boot_id = ?,"
                " last_error = ? WHERE id = ?",
                (retry_at_s is None, retry_at_s or 0.0, self._boot_id, reason, job.id),
            )

    def restored(self, job: Job, result: Result) -> None:
        """The restoration is on the disk: it is to be spooled."""
        self._end_restoration(job, result, "restored", None)

    def set_aside(self, job: Job, reason: str, result: Result | None) -> None:
        """The photograph cannot be restored: what there is of it is to be spooled.

        result : the photograph as taken and a report that says so; None when not even its
            picture can be read. A photograph that was restored before keeps that result.
        """
        self._end_restoration(job, result, "set-aside", reason)

    def _end_restoration(
        self, job: Job, result: Result | None, state: State, reason: str | None
    ) -> None:
        with self._file.change() as db:
            if state == "set-aside" and self._state(db, job.number) == "restored":
                db.execute(
                    "UPDATE photographs SET reason = ? WHERE number = ?", (reason, job.number)
                )
                result = None
            else:
                db.execute(
                    "UPDATE photographs SET state = ?, reason = ? WHERE number = ?",
                    (state, reason, job.number),
                )
            db.execute("DELETE FROM jobs WHERE id = ?", (job.id,))
            if result is not None:
                db.execute(
                    "UPDATE photographs SET photo = ?, report = ?, facts = ? WHERE number = ?",
                    (
                        str(result.photo),
                        str(result.report),
                        json.dumps(dict(result.facts)),
                        job.number,
                    ),
                )
                _deliver(db, job.number)

    @staticmethod
    def _state(db: sqlite3.Connection, number: int) -> str:
        row = db.execute("SELECT state FROM photographs WHERE number = ?", (number,)).fetchone()
        return str(row["state"])

    def spooled(self, job: Job, where: str, *, push: bool) -> None:
        """The copies are in the spool, synced. push : they are to be pushed to a server too."""
        with self._file.change() as db:
            self._end(db, job)
            db.execute("UPDATE photographs SET spooled = ? WHERE number = ?", (where, job.number))
            if push:
                _request(db, job.number, "push")

    def pushed(self, job: Job, where: str) -> None:
        """The copies are on the server, confirmed."""
        with self._file.change() as db:
            self._end(db, job)
            db.execute("UPDATE photographs SET pushed = ? WHERE number = ?", (where, job.number))

    def dropped(self, job: Job) -> None:
        """Nobody wants it done any more: its photograph was removed, or there is no server now."""
        with self._file.change() as db:
            self._end(db, job)

    @staticmethod
    def _end(db: sqlite3.Connection, job: Job) -> None:
        """End the job, unless it was requested again while it ran: then it is to be done again."""
        db.execute("DELETE FROM jobs WHERE id = ?", (job.id,))

    def resume(self) -> list[int]:
        """At the start of the service: jobs that were running when it died are due again.

        Returns the numbers of photographs that were reserved and may never have been taken.
        """
        with self._file.change() as db:
            db.execute(
                "UPDATE jobs SET running = 0, interrupted = interrupted + 1 WHERE running = 1"
            )
            rows = db.execute("SELECT number FROM photographs WHERE state = 'reserved'").fetchall()
        return [row["number"] for row in rows]

    def restore_again(self, numbers: Iterable[int], model: str | None = None) -> int:
        """Restore photographs once more whose bundles are there; how many that are.

        model : the folder of a model bundle, None for the configured one.
        """
        with self._file.change() as db:
            count = 0
            for number in numbers:
                row = db.execute(
                    "SELECT 1 FROM photographs WHERE number = ? AND removed = 0"
                    " AND state IN ('restored', 'set-aside')",
                    (number,),
                ).fetchone()
                if row is not None:
                    _request(db, number, "restore", priority=_AFTER_EVERYTHING, model=model)
                    count += 1
            return count

    # --- dates

    def undated(self, now: Moment) -> list[Photograph]:
        """Photographs of this start of the machine whose date is not known yet."""
        return self._photographs(
            "state NOT IN ('reserved', 'missed') AND synchronised = 0 AND boot_id = ?",
            (now.boot_id,),
        )

    def dated(self, number: int, wall_ns: int) -> None:
        """The true date of a photograph is known; a report delivered before goes out again."""
        with self._file.change() as db:
            db.execute(
                "UPDATE photographs SET wall_ns = ?, synchronised = 1 WHERE number = ?",
                (wall_ns, number),
            )
            row = db.execute(
                "SELECT report FROM photographs WHERE number = ?", (number,)
            ).fetchone()
            if row is not None and row["report"] is not None:
                _deliver(db, number)

    # --- keeping and removing

    def keep(self, number: int, keep: bool = True) -> bool:
        """Keep a photograph's bundle whatever room it takes; False when there is no such one."""
        with self._file.change() as db:
            changed = db.execute(
                "UPDATE photographs SET keep = ? WHERE number = ? AND removed = 0", (keep, number)
            ).rowcount
            return changed == 1

    def removable(self, limit: int = 100) -> list[Photograph]:
        """The oldest photographs whose bundle may be deleted: delivered, and not to be kept."""
        return self._photographs(
            "removed = 0 AND keep = 0 AND spooled IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.number = photographs.number)",
            (),
            limit,
        )

    def removed(self, number: int) -> None:
        """The bundle of a delivered photograph was deleted."""
        with self._file.change() as db:
            db.execute("UPDATE photographs SET removed = 1 WHERE number = ?", (number,))

    def photo_cleared(self, number: int) -> None:
        """The restored photograph's own copy is to be deleted: its deliveries are confirmed."""
        with self._file.change() as db:
            db.execute("UPDATE photographs SET photo = NULL WHERE number = ?", (number,))

    def clearable(self, limit: int = 100) -> list[Photograph]:
        """Photographs whose restored copy is no longer needed: every delivery is confirmed."""
        return self._photographs(
            "photo IS NOT NULL AND spooled IS NOT NULL AND NOT EXISTS"
            " (SELECT 1 FROM jobs WHERE jobs.number = photographs.number AND kind != 'restore')",
            (),
            limit,
        )

    # --- looking

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

    def counts(self) -> Counts:
        """How much there is and how much is to be done."""
        with self._file.look() as db:
            waiting: dict[JobKind, int] = {"restore": 0, "spool": 0, "push": 0}
            again = 0
            for row in db.execute("SELECT kind, count(*), sum(priority) FROM jobs GROUP BY kind"):
                waiting[row[0]] = row[1]
                again += row[2] // _AFTER_EVERYTHING
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


def _request(
    db: sqlite3.Connection,
    number: int,
    kind: JobKind,
    *,
    priority: int = 0,
    model: str | None = None,
) -> None:
    """A job that is due now; one of its kind that waits or runs is replaced by it."""
    db.execute("DELETE FROM jobs WHERE number = ? AND kind = ?", (number, kind))
    db.execute(
        "INSERT INTO jobs (number, kind, priority, model) VALUES (?, ?, ?, ?)",
        (number, kind, priority, model),
    )


def _deliver(db: sqlite3.Connection, number: int) -> None:
    """Results are new: to be spooled, and pushed after that, not before."""
    db.execute("DELETE FROM jobs WHERE number = ? AND kind = 'push'", (number,))
    _request(db, number, "spool")


def _photograph(row: sqlite3.Row) -> Photograph:
    return Photograph(
        number=row["number"],
        state=row["state"],
        pressed=Moment(row["wall_ns"], row["boot_ns"], row["boot_id"], bool(row["synchronised"])),
        bracket=row["bracket"],
        bundle=_path(row["bundle"]),
        warnings=tuple(_plain(row["warnings"], list)),
        photo=_path(row["photo"]),
        report=_path(row["report"]),
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


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
