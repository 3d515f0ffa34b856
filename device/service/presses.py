"""From the level of a noisy button to short and long presses: pure, no pins, no clock.

Edges arrive with the kernel's time and may be missing; looks at the pin come in between and
cannot be. A level counts once it is known to have held for the debounce time: until a look that
finds it unchanged, or until the edge that ends it. A short press is told when the button is
released, a long press as soon as it has been held long enough. So
- a release whose edge was lost is found by the next looks, and nothing fires twice;
- a button that is stuck fires once and then is silent until it is released;
- a button that is held while the service starts fires nothing.
"""

from __future__ import annotations

from typing import Literal

Press = Literal["short", "long"]


class PressDetector:
    """One button. Times are seconds of any clock that does not jump."""

    def __init__(self, debounce_s: float, long_press_s: float) -> None:
        self._debounce_s, self._long_press_s = debounce_s, long_press_s
        self._level: bool | None = None  # the newest, counted or not
        self._since_s = 0.0
        self._down_s: float | None = None  # when the press began that is going on
        self._armed = False  # was released, and nothing is told of the press yet

    @property
    def held_s(self) -> float | None:
        """When the press began that is going on; None without one."""
        return self._down_s

    @property
    def unsettled(self) -> bool:
        """Whether the next looks may complete a press: they should come soon."""
        down = self._down_s is not None
        return self._level is not down or (down and self._armed)

    def see(self, at_s: float, active: bool, *, edge: bool = False) -> list[Press]:
        """The presses that are complete once the button is seen `active` at a moment.

        edge : it became so at this very moment; otherwise it was looked at.
        """
        told: list[Press] = []
        changed = active is not self._level
        if self._level is None:
            self._armed = not active
        elif changed == edge:
            told = self._held_until(at_s)
        if changed or edge:
            self._level, self._since_s = active, at_s
        if edge and not changed and active and self._down_s is not None:
            self._down_s = at_s  # an edge was lost in between: the hold counts anew
        return told

    def _held_until(self, at_s: float) -> list[Press]:
        """The newest level is known to have held from its beginning to this moment."""
        if at_s - self._since_s < self._debounce_s:
            return []
        if not self._level:
            short = self._down_s is not None and self._armed
            self._down_s, self._armed = None, True
            return ["short"] if short else []
        if self._down_s is None:
            self._down_s = self._since_s
        if self._armed and at_s - self._down_s >= self._long_press_s:
            self._armed = False
            return ["long"]
        return []
