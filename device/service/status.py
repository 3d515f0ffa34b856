"""How the service is doing: as JSON, for people, and as Prometheus's text format.

Failure policy: nothing here fails for what cannot be found out; such a value is null, and left
out where people and Prometheus read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from device.service.clock import Moment, iso_date
from device.service.journal import Journal
from device.service.machine import free_mb, temperature_c, throttling
from device.service.names import Folders, photo_name
from device.service.photographer import Photographer
from device.service.records import JobKind, Photograph
from device.service.restorer import Restorer
from device.version import software_name
from firmware_bridge.reader_stats import ReaderStats

Status = Mapping[str, Any]

_KINDS: tuple[JobKind, ...] = ("restore", "spool", "push")


def gather(
    journal: Journal,
    folders: Folders,
    photographer: Photographer,
    restorer: Restorer,
    now: Moment,
    *,
    running_s: float,
    refuses: str | None,
    delivery_needs: str | None,
) -> dict[str, Any]:
    """Everything `stillpi status --json` shows; stable keys, plain JSON."""
    counts, newest = journal.counts(), journal.newest()
    stats = photographer.imu_stats()
    errors = {kind: journal.last_error(kind) for kind in _KINDS}
    return {
        "software": software_name(),
        "running_s": round(running_s, 1),
        "camera": photographer.doing,
        "trouble": photographer.trouble,
        "refuses": refuses,
        "last_failure": photographer.last_failure,
        "delivery_needs": delivery_needs,
        "model": restorer.models()[0],
        "queue": {**counts.waiting, "again": counts.again, "restoring": restorer.restoring},
        "errors": {kind: error for kind, error in errors.items() if error is not None},
        "photographs": counts.photographs,
        "set_aside": counts.set_aside,
        "last": None if newest is None else _photograph(newest),
        "imu": None if stats is None else _imu(stats),
        "free_mb": {
            "photos": _rounded(free_mb(folders.photos)),
            "state": _rounded(free_mb(folders.state)),
        },
        "machine": {"temperature_c": temperature_c(), "throttling": throttling()},
        "date_known": now.synchronised,
    }


def deliveries(journal: Journal, now_s: float) -> list[dict[str, Any]]:
    """What `stillpi deliver list --json` shows, by number.

    now_s : seconds of CLOCK_BOOTTIME. next_try_s : how long until then, 0 for in its turn.
    """
    waiting = [job for kind in ("spool", "push") for job in journal.waiting(kind)]
    return [
        {
            "number": job.number,
            "name": photo_name(job.number),
            "kind": job.kind,
            "attempts": job.attempts,
            "last_error": job.last_error,
            "next_try_s": round(max(0.0, job.due_s - now_s), 1),
        }
        for job in sorted(waiting, key=lambda job: job.number)
    ]


def _photograph(photograph: Photograph) -> dict[str, Any]:
    return {
        "number": photograph.number,
        "name": photo_name(photograph.number),
        "taken": iso_date(photograph.pressed.wall_ns),
        "date_known": photograph.pressed.synchronised,
        "state": photograph.state,
        "reason": photograph.reason,
        "pending": list(photograph.pending),
        "warnings": [warning["name"] for warning in photograph.warnings],
        "restoration": dict(photograph.facts) or None,
    }


def _imu(stats: ReaderStats) -> dict[str, Any]:
    values = asdict(stats)
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def headline(status: Status) -> str:
    """One line: what systemd shows."""
    if status["trouble"]:
        return str(status["trouble"])
    if status["refuses"]:
        return f"no new photographs: {status['refuses']}"
    queue = status["queue"]
    waiting = [f"{queue[kind]} to {kind}" for kind in _KINDS if queue[kind]]
    return ", ".join([str(status["camera"]), f"{status['photographs']} taken", *waiting])


def for_people(status: Status) -> Iterator[str]:
    """The status as lines."""
    yield f"{status['software']}: {headline(status)}"
    last = status["last"]
    if last:
        doubt = "" if last["date_known"] else " (date not known yet)"
        yield f"last photograph: {last['name']}, {last['taken']}{doubt}, {last['state']}"
        yield from (f"  {line}" for line in _about(last))
    yield "queue: " + ", ".join(f"{status['queue'][kind]} to {kind}" for kind in _KINDS)
    for kind, error in status["errors"].items():
        yield f"  {kind}: {error}"
    if status["set_aside"]:
        yield (
            f"set aside, delivered as taken: {status['set_aside']}; their reports say why, and"
            " stillpi reprocess tries them again"
        )
    if status["last_failure"]:
        yield f"last press gave no photograph: {status['last_failure']}"
    yield f"model: {status['model']}"
    yield f"motion sensor: {_imu_line(status['imu'])}"
    yield from _machine_lines(status)


def _about(last: Mapping[str, Any]) -> Iterator[str]:
    if last["reason"]:
        yield str(last["reason"])
    facts = last["restoration"] or {}
    if facts.get("blur_px_median") is not None:
        model = facts["model"]["name"] if facts.get("model") else "the filter alone"
        yield f"blur {facts['blur_px_median']:.1f} px, by {model}, in {facts['seconds']:.1f} s"
    warnings = facts.get("warnings") or last["warnings"]
    if warnings:
        yield f"warnings: {', '.join(warnings)}"


def _imu_line(imu: Mapping[str, Any] | None) -> str:
    if imu is None:
        return "none"
    if not imu["connected"]:
        return f"not connected: {imu['last_error'] or 'no sign of it yet'}"
    uncertain = imu["clock_uncertainty_s"]
    clock = "" if uncertain is None else f", times known to {uncertain * 1e3:.2f} ms"
    return f"{imu['rate_hz']:.0f} Hz, {imu['losses']} of {imu['samples']} lost{clock}"


def _machine_lines(status: Status) -> Iterator[str]:
    free, machine = status["free_mb"]["photos"], status["machine"]
    if free is not None:
        yield f"free for photographs: {free / 1000:.1f} GB"
    if machine["temperature_c"] is not None:
        yield f"temperature: {machine['temperature_c']:.0f} °C"
    if machine["throttling"]:
        yield f"the firmware complains: {', '.join(machine['throttling'])}"
    if not status["date_known"]:
        yield "the date is not known: time is not synchronised"


def prometheus(status: Status) -> str:
    """The status in Prometheus's text format, for node_exporter's textfile collector."""
    return "".join(f"{name} {value:g}\n" for name, value in _metrics(status) if value is not None)


def _metrics(status: Status) -> Iterator[tuple[str, float | None]]:
    yield "stillpi_camera_ready", status["camera"] in ("ready", "taking")
    yield "stillpi_refusing", status["refuses"] is not None
    yield "stillpi_photographs_total", status["photographs"]
    yield "stillpi_set_aside_total", status["set_aside"]
    for kind in _KINDS:
        yield f'stillpi_queue{{job="{kind}"}}', status["queue"][kind]
    imu = status["imu"] or {}
    yield "stillpi_imu_connected", imu.get("connected", False)
    yield "stillpi_imu_rate_hz", imu.get("rate_hz")
    yield "stillpi_imu_samples_total", imu.get("samples")
    yield "stillpi_imu_losses_total", imu.get("losses")
    yield "stillpi_imu_clock_uncertainty_seconds", imu.get("clock_uncertainty_s")
    for folder, megabytes in status["free_mb"].items():
        free = None if megabytes is None else megabytes * 1e6
        yield f'stillpi_free_bytes{{folder="{folder}"}}', free
    yield "stillpi_temperature_celsius", status["machine"]["temperature_c"]
    complaints = status["machine"]["throttling"]
    yield "stillpi_throttled", None if complaints is None else "throttled" in complaints
