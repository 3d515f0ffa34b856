"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(
    condition: Callable[[], object], timeout_s: float = 30.0, *, every_s: float = 0.01
) -> None:
    """Return once the condition holds, looked at so often; fail when it does not in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(every_s)
