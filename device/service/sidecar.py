"""The report that lies beside a delivered photograph: what the service adds to a restoration's.

    "photograph": {"number": 12, "taken": "2026-11-21T13:40:02.125+00:00", "date_known": true,
                   "bracket": null, "frame_sha256": "9f2c..."}

`date_known` is false while the machine's time was not synchronised; the report is written again
once it is. `frame_sha256` tells one photograph from another of the same number (`identity`). The
bundle is never changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device.notices import Notice
from device.restore.report import FORMAT, VERSION
from device.service.clock import Moment, iso_date
from device.service.identity import KEY, frame_sha256
from device.service.records import Photograph
from device.version import software_name

NOT_RESTORED = "not-restored"


def stamped(
    report: Mapping[str, Any], photograph: Photograph, pressed: Moment | None = None
) -> dict[str, Any]:
    """The report with what is known of its photograph. pressed : when, if known better now."""
    pressed = pressed or photograph.pressed
    digest = None if photograph.bundle is None else frame_sha256(photograph.bundle)
    about = {
        "number": photograph.number,
        "taken": iso_date(pressed.wall_ns),
        "date_known": pressed.synchronised,
        "bracket": photograph.bracket,
        KEY: report.get("photograph", {}).get(KEY) or digest,
    }
    return {**report, "photograph": about}


def unrestored_report(bundle: Path, reason: str) -> dict[str, Any]:
    """The report of a photograph that is delivered as it was taken."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "bundle": str(bundle),
        "model": None,
        "model_note": "not restored: the photograph as it was taken",
        "warnings": [Notice(NOT_RESTORED, reason).to_json()],
        "software": software_name(),
    }


def read_report(path: Path) -> dict[str, Any]:
    """A report that was written. Raises OSError, ValueError when it is none."""
    report = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(report, dict):
        raise ValueError(f"{path}: not a report")
    return report


def facts_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the status tells of a restoration."""
    warnings = [warning["name"] for warning in report.get("warnings", [])]
    motion = report.get("motion") or {}
    return {
        "restored": NOT_RESTORED not in warnings,
        "model": report.get("model"),
        "blur_px_median": motion.get("blur_px_median"),
        "sync": report.get("sync") or {},
        "warnings": warnings,
        "seconds": round(sum((report.get("stages_s") or {}).values()), 2),
    }
