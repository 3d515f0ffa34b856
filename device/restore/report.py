"""What was done to a photograph, in numbers: the JSON that lies beside the restored picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from device.notices import Notice

FORMAT, VERSION = "stillpi-report", 1


@dataclass
class RestoreReport:
    """Filled stage by stage; every value is plain JSON.

    motion : blur lengths in pixels, bias, rates; guard : what was trusted;
    model : name and sha256, None when no network ran, and `model_note` says why.
    """

    bundle: str
    width: int
    height: int
    motion: dict[str, Any] = field(default_factory=dict)
    sync: dict[str, Any] = field(default_factory=dict)
    noise: dict[str, Any] = field(default_factory=dict)
    working_scale: float = 1.0
    model: dict[str, Any] | None = None
    model_note: str = ""
    guard: dict[str, Any] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    stages_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage of the work."""
        begin = perf_counter()
        yield
        self.stages_s[name] = round(perf_counter() - begin, 4)

    def to_json(self) -> dict[str, Any]:
        """The report as it is written, stable keys."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "bundle": self.bundle,
            "width": self.width,
            "height": self.height,
            "motion": self.motion,
            "sync": self.sync,
            "noise": self.noise,
            "working_scale": self.working_scale,
            "model": self.model,
            "model_note": self.model_note,
            "guard": self.guard,
            "warnings": [notice.to_json() for notice in self.notices],
            "stages_s": self.stages_s,
        }
