"""A thread of the service that does one step after the other, and shows that it still does.

Failure policy: what a step expects to go wrong, it handles itself. An exception that leaves a step
is a bug: the thread ends with it, `failure` holds it, and the daemon ends so that systemd starts
a new one; the journal makes that harmless. A step that hangs shows by `is_well`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LONGEST_REST_S = 3600.0


class Worker:
    """Calls `step` in a thread of its own until stopped.

    step : does what is to be done and returns for how many seconds nothing is, at most.
    patience_s : how long one step may take before the worker counts as hung.
    ended : called in the thread when it ends, well or not.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float],
        *,
        patience_s: float,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.failure: BaseException | None = None
        self._step, self._patience_s, self._ended = step, patience_s, ended
        self._stop, self._wake = threading.Event(), threading.Event()
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to do: the worker rests no longer."""
        self._wake.set()

    def stop(self) -> None:
        """Ask the thread to end after its step."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False when it hangs."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_well(self) -> bool:
        """Whether the thread is alive and its step does not take too long."""
        since = self._busy_since
        hangs = since is not None and time.monotonic() - since > self._patience_s
        return self._thread.is_alive() and not hangs

    def _run(self) -> None:
        try:
            while True:
                self._wake.clear()
                if self._stop.is_set():
                    return
                self._busy_since = time.monotonic()
                rest_s = self._step()
                self._busy_since = None
                self._wake.wait(min(rest_s, LONGEST_REST_S))
        except BaseException as failure:
            self.failure = failure
            raise
        finally:
            self._ended()
