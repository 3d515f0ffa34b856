"""Restorations, one after the other, each in a child process with bounded memory and time.

The results lie in a folder of their own until they are delivered, under the photograph's name;
this is the only thread that writes there. Dates are corrected here too, once they are known.

Failure policy
- A child that crashes, hangs, needs too much memory or refuses costs an attempt. After the
  configured number of them the photograph is set aside: delivered as it was taken, and marked.
- A full or read-only disk costs no attempt: it is tried again, until there is room.
- A photograph during which the service itself died MOST_INTERRUPTED times (it may draw so much
  power that the machine goes down) is set aside as well.
- The bundle is never touched.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from device.commands.restoring import model_folder, one_line
from device.config import Config
from device.output import write_report
from device.restore.network import verified_manifest
from device.service import restore_child
from device.service.clock import Clock, boot_s
from device.service.journal import Job, Journal, JournalError, Result
from device.service.names import Folders, photo_name
from device.service.sidecar import facts_of, read_report, stamped, unrestored_report
from firmware_bridge.whole_file import sync

_log = logging.getLogger(__name__)

MOST_INTERRUPTED = 10
CHILD = (sys.executable, "-P", "-m", "device.service.restore_child")  # -P: not a folder `device`
DISK_AGAIN_S = 30.0
_IDLE_S = 30.0
_LOOK_S = 0.1
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a child ended: reason is None when it did its work; counts : as an attempt."""

    reason: str | None
    counts: bool = True


class Restorer:
    """Works on the journal's "restore" jobs; `step` runs in one thread.

    child : the command that does one restoration. restored : called when there is something to
        deliver.
    """

    def __init__(
        self,
        journal: Journal,
        folders: Folders,
        config: Config,
        *,
        clock: Clock | None = None,
        child: Sequence[str] = CHILD,
        restored: Callable[[], None] = lambda: None,
    ) -> None:
        self.restoring: int | None = None
        """The number of the photograph that is being restored."""
        self._journal, self._folders, self._config = journal, folders, config
        self._clock, self._child, self._restored = clock or Clock(), tuple(child), restored
        self._stop = threading.Event()

    def stop(self) -> None:
        """End the running child; its job is due again at the next start."""
        self._stop.set()

    def step(self) -> float:
        """Do the next restoration; seconds until it is worth another look."""
        try:
            job = self._journal.next_job("restore", boot_s())
            if job is None:
                self._correct_dates()
                self._clear_delivered()
                due_s = self._journal.next_due_s("restore")
                return _IDLE_S if due_s is None else max(0.0, min(due_s - boot_s(), _IDLE_S))
            self.restoring = job.number
            self._do(job)
        except JournalError as error:
            _log.error("%s", error)
            return DISK_AGAIN_S
        finally:
            self.restoring = None
        return 0.0

    def _do(self, job: Job) -> None:
        reason = self._hopeless(job)
        try:
            if reason is not None:
                self._set_aside(job, reason)
                return
            target = self._work_folder(job) / f"{photo_name(job.number)}.{self._suffix}"
            ended = self._run_child(job, target)
            if ended.reason is None:
                self._journal.restored(job, self._publish(job.number, target))
                _log.info("%s restored", photo_name(job.number))
                self._restored()
                return
        except JournalError:
            raise
        except OSError as error:
            ended = _Ended(one_line(error), counts=False)
        except ValueError as error:
            ended = _Ended(f"the report cannot be read: {error}")
        finally:
            shutil.rmtree(self._folders.work / photo_name(job.number), ignore_errors=True)
        if self._stop.is_set():
            self._journal.failed(job, ended.reason or "stopped", retry_at_s=0.0)
            return
        wait_s = None if ended.counts else boot_s() + DISK_AGAIN_S
        attempt = f"attempt {job.attempts + 1}" if ended.counts else "to be tried again"
        _log.error("%s not restored, %s: %s", photo_name(job.number), attempt, ended.reason)
        self._journal.failed(job, ended.reason or "", retry_at_s=wait_s)

    @property
    def _suffix(self) -> str:
        return self._config.output.format

    def _hopeless(self, job: Job) -> str | None:
        if job.attempts >= self._config.service.attempts:
            count = "1 attempt" if job.attempts == 1 else f"{job.attempts} attempts"
            return f"{count} failed, the last: {job.last_error}"
        if job.interrupted >= MOST_INTERRUPTED:
            return f"the service ended {job.interrupted} times while it was restored"
        return None

    # --- the child

    def _work_folder(self, job: Job) -> Path:
        folder = self._folders.work / photo_name(job.number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def models(self, wanted: str | None = None) -> list[str]:
        """The model to use, then what stands in for it if it does not run here.

        wanted : the folder of one that nothing may stand in for, None for the configured one,
            or the newest that was sent where that is "default".
        """
        if wanted is not None:
            return [wanted]
        configured = str(self._config.restoration.model)
        sent = self._folders.sent_model
        if configured == "default" and sent.is_dir():
            return [str(sent.resolve()), "default"]
        return [configured, "default"] if configured not in ("default", "none") else [configured]

    def _run_child(self, job: Job, target: Path) -> _Ended:
        request = restore_child.Request(
            config=self._config,
            bundle=job.bundle,
            target=target,
            models=self.models(job.model),
            memory_mb=self._config.service.restore_memory_mb,
            parent=os.getpid(),
        )
        said = target.parent / "said"
        with said.open("wb") as stderr:
            child = subprocess.Popen(
                self._child,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=self._environment(),
                process_group=0,
            )
            try:
                assert child.stdin is not None
                try:
                    with child.stdin:
                        child.stdin.write(request.model_dump_json().encode())
                except BrokenPipeError:
                    pass  # it ended before it listened; its exit code tells
                return self._wait(child, said)
            finally:
                _kill(child)

    def _environment(self) -> dict[str, str]:
        # One thread a matrix library: the restoration has threads of its own.
        single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
        # The service's user need not have a home for the cache.
        return {"XDG_CACHE_HOME": str(self._folders.cache), **os.environ, **single}

    def _wait(self, child: subprocess.Popen[bytes], said: Path) -> _Ended:
        limit_s = self._config.service.restore_timeout_s
        end = time.monotonic() + limit_s
        while child.poll() is None:
            if time.monotonic() > end:
                return _Ended(f"no result after {limit_s:g} s")
            if self._stop.wait(_LOOK_S):
                return _Ended("stopped", counts=False)
        code = child.returncode
        if code == restore_child.EXIT_DONE:
            return _Ended(None)
        if code < 0:
            return _Ended(f"a crash by {_signal_name(-code)}")
        lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = (lines or [f"exit code {code}"])[-1][:_LONGEST_REASON]
        if code == restore_child.EXIT_BUG:
            _log.error("the restoration failed:\n%s", "\n".join(lines))
        return _Ended(reason, counts=code != restore_child.EXIT_DISK)

    # --- the results

    def _publish(self, number: int, photo: Path) -> Result:
        """Give a photograph and its report, written and synced, their final names."""
        report = read_report(photo.with_suffix(".json"))
        return self._place(number, photo, report)

    def _place(self, number: int, photo: Path, report: dict[str, Any]) -> Result:
        results = self._folders.results
        placed = results / photo.name
        photo.replace(placed)
        sync(results)
        photograph = self._journal.photograph(number)
        assert photograph is not None  # its job is
        report["output"] = placed.name
        write_report(placed.with_suffix(".json"), stamped(report, photograph))
        return Result(placed, placed.with_suffix(".json"), facts_of(report))

    def _set_aside(self, job: Job, reason: str) -> None:
        """Deliver the camera's own file, byte for byte: nothing here can crash on its content."""
        _log.error("%s set aside: %s", photo_name(job.number), reason)
        frame = _frame_of(job.bundle)
        result = None
        if frame is not None and job.photo is None and job.report is None:
            copy = self._work_folder(job) / f"{photo_name(job.number)}{frame.suffix.lower()}"
            shutil.copyfile(frame, copy)
            sync(copy)
            result = self._place(job.number, copy, unrestored_report(job.bundle, reason))
        self._journal.set_aside(job, reason, result)
        self._restored()

    def _correct_dates(self) -> None:
        now = self._clock.now()
        if not now.synchronised:
            return
        for photograph in self._journal.undated(now):
            wall_ns = now.date_of(photograph.pressed)
            assert wall_ns is not None  # undated() gives those of this start
            if photograph.report is not None:
                pressed = replace(photograph.pressed, wall_ns=wall_ns, synchronised=True)
                try:
                    report = stamped(read_report(photograph.report), photograph, pressed)
                    write_report(photograph.report, report)
                except (OSError, ValueError) as error:
                    _log.error("the date of photograph %d: %s", photograph.number, error)
                    continue
            self._journal.dated(photograph.number, wall_ns)

    def _clear_delivered(self) -> None:
        """Delete restored photographs whose copies are confirmed; their reports stay."""
        for photograph in self._journal.clearable():
            self._journal.photo_cleared(photograph.number)
            if photograph.photo is not None:
                photograph.photo.unlink(missing_ok=True)


def networks_of(model: str) -> set[str]:
    """The digests by which reports name the networks of a model; raises ModelError."""
    folder = model_folder(model)
    if folder is None:
        return set()
    return {network.sha256 for network in verified_manifest(folder).networks}


def _frame_of(bundle: Path) -> Path | None:
    """The camera's picture in a bundle that may be damaged."""
    try:
        name = Path(json.loads((bundle / "capture.json").read_text())["frame"]["file"]).name
        candidates = [bundle / name]
    except (OSError, ValueError, KeyError, TypeError):
        candidates = []
    candidates += [bundle / f"frame.{suffix}" for suffix in ("jpg", "png", "dng")]
    for path in candidates:
        if path.is_file() and path.stat().st_size > 0:
            return path
    return None


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it started."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _signal_name(number: int) -> str:
    return {known.value: known.name for known in signal.Signals}.get(number, f"signal {number}")
