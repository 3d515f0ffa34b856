"""Photographs to where people find them: into the spool, and from there on to a server.

`step` does one thing: the spool first, because it is quick and what pushing waits for. The report
goes first and the photograph last; a bundle, where wanted, goes as one tar file.

Failure policy
- Whatever fails is tried again for ever, and the journal says why it failed last. While the disk
  or the server refuses everything, one photograph tries for all: after 5 s, 10 s, ..., at most
  five minutes.
- A name that is taken by somebody else's file holds up its own photograph only.
- A result that is gone from the disk is restored again from its bundle.
- What was spooled while no server was configured is pushed once there is one, from the spool; what
  was taken away from there is delivered.
- A crash at any instant costs nothing: what is there already is recognised by its content.
- The journal's JournalError is the caller's.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from device.commands.restoring import one_line
from device.config_service import DeliveryConfig, PushConfig
from device.errors import InputError
from device.service.clock import boot_s
from device.service.identity import same_photograph
from device.service.journal import Journal
from device.service.names import Folders, photo_name
from device.service.push import push
from device.service.push_errors import PushError, place
from device.service.records import Job, JobKind
from device.service.sftp import Patience, SftpSession
from device.service.spool import put, what_to_do

_log = logging.getLogger(__name__)

REST_S = 60.0
"""How long a step may rest when nothing is waiting."""
NAME_AGAIN_S = 300.0
"""When a photograph is tried again that something of its own is wrong with."""
_PHOTO_SUFFIXES = (".jpg", ".png", ".dng")


class BackOff:
    """How long everybody waits after a failure that would meet everybody.

    >>> waits = BackOff(first_s=5, longest_s=15)
    >>> waits.failed(100), waits.failed(105), waits.failed(115), waits.is_over(129)
    (105, 115, 130, False)
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._next_s, self.until_s = first_s, 0.0

    def failed(self, now_s: float) -> float:
        """It failed again; until when to wait."""
        self.until_s = now_s + self._next_s
        self._next_s = min(2 * self._next_s, self._longest_s)
        return self.until_s

    def succeeded(self) -> None:
        """It went well: the next failure is a first one."""
        self._next_s, self.until_s = self._first_s, 0.0

    def is_over(self, now_s: float) -> bool:
        """Whether it may be tried."""
        return now_s >= self.until_s


class Delivery:
    """Works on the journal's "spool" and "push" jobs; `step` runs in one thread.

    now_s : seconds of CLOCK_BOOTTIME. needs_person : what the last push failed for, where waiting
    alone will not mend it.
    """

    def __init__(
        self,
        config: DeliveryConfig,
        folders: Folders,
        *,
        now_s: Callable[[], float] = boot_s,
        patience: Patience | None = None,
    ) -> None:
        self._config, self._folders = config, folders
        self._now_s, self._patience = now_s, patience
        self._disk, self._server = BackOff(5.0, 60.0), BackOff(5.0, 300.0)
        self._session: SftpSession | None = None
        self._stop = threading.Event()
        self._told: dict[JobKind, str] = {}
        self._looked_back = config.push is None
        self.needs_person: str | None = None

    def stop(self) -> None:
        """End a push that is going on; any thread may call this. Its job is due again."""
        self._stop.set()

    def step(self, journal: Journal) -> float:
        """Do the next thing that is due; for how many seconds nothing is. Raises JournalError."""
        if not self._looked_back:
            self._push_earlier(journal)
            self._looked_back = True
        now_s = self._now_s()
        if self._disk.is_over(now_s) and (job := journal.next_job("spool", now_s)) is not None:
            self._spool(journal, job)
            return 0.0
        server = self._config.push
        if (
            self._server.is_over(now_s)
            and not self._stop.is_set()
            and (job := journal.next_job("push", now_s)) is not None
        ):
            if server is None:  # there was one when the photograph was spooled
                journal.dropped(job)
            else:
                self._push(journal, job, server)
            return 0.0
        self._close_session()
        return self._rest_s(journal)

    def _rest_s(self, journal: Journal) -> float:
        now_s, due_s = self._now_s(), [self._now_s() + REST_S]
        spool_s, push_s = journal.next_due_s("spool"), journal.next_due_s("push")
        if spool_s is not None:
            due_s.append(max(spool_s, self._disk.until_s))
        if push_s is not None:
            due_s.append(max(push_s, self._server.until_s))
        return max(0.0, min(due_s) - now_s)

    # --- into the spool

    def _spool(self, journal: Journal, job: Job) -> None:
        photograph = journal.photograph(job.number)
        if photograph is None or photograph.removed or job.report is None:
            journal.dropped(job)
            return
        spool = self._folders.spool
        try:
            is_ours = photograph.spooled is not None or _is_ours(spool, job.report)
            self._put(job, job.report, replace=is_ours)
        except InputError as error:
            self._fail(journal, job, str(error), self._now_s() + NAME_AGAIN_S)
        except OSError as error:
            if _is_gone(error, job):
                self._lost(journal, job, error)
                return
            reason = f"the spool cannot be written: {one_line(error)}{what_to_do(error, spool)}"
            self._fail(journal, job, reason, self._disk.failed(self._now_s()))
        else:
            self._disk.succeeded()
            self._went_well("spool")
            journal.spooled(job, str(spool), push=self._config.push is not None)

    def _put(self, job: Job, report: Path, *, replace: bool) -> None:
        """The photograph last: whoever sees it finds what belongs to it, too."""
        spool = self._folders.spool
        if job.photo is None:  # delivered before; the report is new
            put(spool, report, replace=replace)
            return
        put(spool, report, *self._bundle(job), job.photo, replace=replace)
        for older in spool.glob(f"{photo_name(job.number)}.*"):
            if older.suffix in _PHOTO_SUFFIXES and older.name != job.photo.name:
                older.unlink()  # its format was another one when it was restored before

    # --- to the server

    def _push_earlier(self, journal: Journal) -> None:
        """Let everything be pushed that was spooled before there was a server."""
        earlier = [photograph.number for photograph in journal.never_pushed()]
        there = [number for number in earlier if self._in_spool(number) is not None]
        if there:
            _log.info("from before there was a server, to be pushed now: %d", len(there))
            journal.push_too(there)

    def _in_spool(self, number: int) -> Path | None:
        """A photograph that nobody took away from the spool."""
        name = photo_name(number)
        paths = (self._folders.spool / f"{name}{suffix}" for suffix in _PHOTO_SUFFIXES)
        return next((path for path in paths if path.is_file()), None)

    def _push(self, journal: Journal, job: Job, server: PushConfig) -> None:
        photograph = journal.photograph(job.number)
        if photograph is None or photograph.removed or job.report is None:
            journal.dropped(job)
            return
        photo = job.photo
        if photo is None and photograph.pushed is None:  # cleared, as the spool was all there was
            photo = self._in_spool(job.number)
            if photo is None:
                journal.dropped(job)
                return
        try:
            if self._session is None:
                self._session = SftpSession(server, self._patience, self._stop)
            with self._others(job, photo) as others:
                push(self._session, job.report, others)
        except PushError as error:
            self._close_session()
            if self._stop.is_set():
                return
            self.needs_person = str(error) if error.needs_person else None
            now_s, of_its_own = self._now_s(), error.reason == "name"
            again_s = now_s + NAME_AGAIN_S if of_its_own else self._server.failed(now_s)
            self._fail(journal, job, str(error), again_s)
        except OSError as error:
            if _is_gone(error, job):
                self._lost(journal, job, error)
                return
            reason = f"cannot be pushed: {one_line(error)}"
            self._fail(journal, job, reason, self._server.failed(self._now_s()))
        else:
            self._server.succeeded()
            self.needs_person = None
            self._went_well("push")
            journal.pushed(job, place(server))
        finally:
            if self._stop.is_set():
                self._close_session()

    @contextmanager
    def _others(self, job: Job, photo: Path | None) -> Iterator[list[Path]]:
        """The files besides the report; a bundle's tar lies there for as long as it is sent."""
        if photo is None:  # pushed before; the report is new
            yield []
            return
        folder = self._folders.work / f"{photo_name(job.number)}.push"
        try:
            yield [*put(folder, *self._bundle(job), replace=True), photo]
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _bundle(self, job: Job) -> tuple[Path, ...]:
        """The bundle, where it is wanted; one deleted by hand does not hold up its photograph."""
        return (job.bundle,) if self._config.bundle and job.bundle.is_dir() else ()

    def _close_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    # --- what went wrong

    def _lost(self, journal: Journal, job: Job, error: OSError) -> None:
        """A result is gone: make it again, or say what can be done."""
        reason = f"{error.filename} is gone"
        if job.bundle.is_dir() and journal.restore_again([job.number]):
            reason += ": the photograph is restored again"
        else:
            reason += f", and so is its bundle: put one of them back ({job.bundle})"
        self._fail(journal, job, reason, self._now_s() + NAME_AGAIN_S)

    def _fail(self, journal: Journal, job: Job, reason: str, again_s: float) -> None:
        reason = f"{photo_name(job.number)}: {reason}"
        if reason != self._told.get(job.kind):
            _log.warning("%s; next try in %.0f s", reason, again_s - self._now_s())
            self._told[job.kind] = reason
        journal.failed(job, reason, retry_at_s=again_s)

    def _went_well(self, kind: JobKind) -> None:
        if self._told.pop(kind, None) is not None:
            _log.info("%s: works again", "the spool" if kind == "spool" else "pushing")


def _is_gone(error: OSError, job: Job) -> bool:
    """Whether what was to be delivered is not there, rather than where it was to go."""
    sources = [str(path) for path in (job.report, job.photo) if path is not None]
    return isinstance(error, FileNotFoundError) and str(error.filename) in sources


def _is_ours(spool: Path, report: Path) -> bool:
    """Whether an older report of the same photograph lies in the spool."""
    older = spool / report.name
    return older.is_file() and same_photograph(report.read_bytes(), older.read_bytes())
