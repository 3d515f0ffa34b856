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
from typing import Self

from device.service.journal_file import JournalError
from device.service.journal_view import AFTER_EVERYTHING, JournalView, path_or_none
from device.service.names import number_of
from device.service.records import Counts, Job, JobKind, Photograph, Result, State

__all__ = ["Counts", "Job", "JobKind", "Journal", "JournalError", "Photograph", "Result", "State"]


class Journal(JournalView):
    """Safe to use from several threads, and from several processes.

    clock : tells when photographs are pressed and which start of the machine this is.

    Raises JournalError when the file cannot be opened.
    """

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
            photo=path_or_none(row["photo"]),
            report=path_or_none(row["report"]),
            model=row["model"],
            last_error=row["last_error"],
        )

    def failed(self, job: Job, reason: str, retry_at_s: float | None = None) -> None:
        """The job did not succeed.

        retry_at_s : when to try again, which costs a restoration none of its attempts (a full
            disk); None costs one and makes it due at once. A delivery has any number of them.
        """
        counts = retry_at_s is None or job.kind != "restore"
        with self._file.change() as db:
            db.execute(
                "UPDATE jobs SET running = 0, attempts = attempts + ?, due_s = ?, due_boot_id = ?,"
                " last_error = ? WHERE id = ?",
                (counts, retry_at_s or 0.0, self._boot_id, reason, job.id),
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

    def push_too(self, numbers: Iterable[int]) -> None:
        """Photographs that were spooled before there was a server: they are to be pushed now."""
        with self._file.change() as db:
            for number in numbers:
                _request(db, number, "push")

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
                    _request(db, number, "restore", priority=AFTER_EVERYTHING, model=model)
                    count += 1
            return count

    # --- dates

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

    def removed(self, number: int) -> None:
        """The bundle of a delivered photograph was deleted."""
        with self._file.change() as db:
            db.execute("UPDATE photographs SET removed = 1 WHERE number = ?", (number,))

    def photo_cleared(self, number: int) -> None:
        """The restored photograph's own copy is to be deleted: its deliveries are confirmed."""
        with self._file.change() as db:
            db.execute("UPDATE photographs SET photo = NULL WHERE number = ?", (number,))


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
