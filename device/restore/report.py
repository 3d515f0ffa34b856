"""What was done to a photograph, in numbers: the JSON that lies beside the restored picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeVar

from device.notices import Notice

T = TypeVar("T")

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
    reproducible: bool = False
    model: dict[str, Any] | None = None
    model_note: str = ""
    guard: dict[str, Any] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    stages_s: dict[str, float] = field(default_factory=dict)
    _drawn_s: float = field(default=0.0, init=False, repr=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage of the work."""
        begin, inner = perf_counter(), self._drawn_s
        yield
        self._add(name, perf_counter() - begin - (self._drawn_s - inner))

    def drawn(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Items of a stage whose work is done as another stage draws them.

        It is timed for itself, until each item is there; where both work side by side, the other
        stage is left what it takes beyond that.
        """
        source = iter(items)
        while True:
            begin = perf_counter()
            item = next(source, None)
            spent = perf_counter() - begin
            self._drawn_s += spent
            self._add(name, spent)
            if item is None:
                return
            yield item

    def _add(self, name: str, spent_s: float) -> None:
        self.stages_s[name] = round(self.stages_s.get(name, 0.0) + spent_s, 4)

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
            "reproducible": self.reproducible,
            "model": self.model,
            "model_note": self.model_note,
            "guard": self.guard,
            "warnings": [notice.to_json() for notice in self.notices],
            "stages_s": self.stages_s,
        }
