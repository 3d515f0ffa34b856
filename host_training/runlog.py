"""What a run tells while it trains: log.jsonl, tensorboard, and a progress bar with its ETA.

Failure policy: the log is for people. A line is flushed as it is written; a run that is resumed
drops the lines of steps that will be done again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from device.output import write_atomic

LOG_FILE = "log.jsonl"
BOARD_FOLDER = "tensorboard"


class RunLog:
    """Lines of named figures, one for every so many steps; a context manager."""

    def __init__(self, run: Path, *, first_step: int, steps: int, bar: bool = True) -> None:
        """first_step : steps that were done before; steps : those of the whole run."""
        run.mkdir(parents=True, exist_ok=True)
        path = run / LOG_FILE
        _drop_after(path, first_step)
        self._file = path.open("a", encoding="utf-8")
        self._board: Any = SummaryWriter(str(run / BOARD_FOLDER), purge_step=first_step + 1)
        self._bar = Progress(
            TextColumn("{task.completed}/{task.total}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            disable=not bar,
        )
        self._task = self._bar.add_task("", total=steps, completed=first_step)

    def __enter__(self) -> RunLog:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()
        self._board.close()
        self._file.close()

    def advance(self, step: int) -> None:
        """Move the bar to a step."""
        self._bar.update(self._task, completed=step)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Write one line, none without figures.

        A figure that is not finite becomes null: JSON has no other word for it.
        """
        if not figures:
            return
        line = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        self._file.write(json.dumps({"step": step, **line}) + "\n")
        self._file.flush()
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self._bar.update(self._task, description=shown)


def _drop_after(path: Path, step: int) -> None:
    """Keep the lines of steps up to this one; a last line cut short by a kill goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            done = json.loads(line)["step"]
        except ValueError:
            break
        if done <= step:
            kept.append(line)
    write_atomic(path, "".join(kept).encode())
