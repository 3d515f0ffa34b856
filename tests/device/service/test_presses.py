from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.service.presses import Press, PressDetector

DEBOUNCE_S, LONG_S = 0.03, 0.8
LOOK_S = 0.01
FOUND_S = DEBOUNCE_S + 3 * LOOK_S
"""What a change whose edge was lost takes to be found and believed."""


class Button:
    """A button on a clock of its own, watched by edges and looks as the pin's thread does."""

    def __init__(self) -> None:
        self.detector = PressDetector(DEBOUNCE_S, LONG_S)
        self.now_s, self.active = 100.0, False
        self.told: list[Press] = []
        self.wait(0.1)

    def turn(self, active: bool, *, lost: bool = False) -> None:
        """The level changes; its edge may get lost."""
        self.active = active
        if not lost:
            self.told += self.detector.see(self.now_s, active, edge=True)

    def wait(self, seconds: float, *, looks: bool = True) -> None:
        end_s = self.now_s + seconds
        while looks and self.now_s + LOOK_S < end_s:
            self.now_s += LOOK_S
            self.told += self.detector.see(self.now_s, self.active)
        self.now_s = end_s

    def press(self, seconds: float, *, lost: tuple[bool, bool] = (False, False)) -> None:
        self.turn(True, lost=lost[0])
        self.wait(seconds)
        self.turn(False, lost=lost[1])
        self.wait(0.2)


def test_a_short_press() -> None:
    button = Button()
    button.press(0.1)
    assert button.told == ["short"]


def test_a_long_press_is_told_while_it_is_held() -> None:
    button = Button()
    button.turn(True)
    button.wait(LONG_S + 2 * LOOK_S)
    assert button.told == ["long"]
    button.wait(5.0)
    button.turn(False)
    button.wait(1.0)
    assert button.told == ["long"]
    button.press(0.1)
    assert button.told == ["long", "short"]


def test_chatter_is_one_press() -> None:
    button = Button()
    for _ in range(5):
        button.turn(True)
        button.wait(0.004)
        button.turn(False)
        button.wait(0.003)
    assert button.told == []
    button.turn(True)
    button.wait(0.2)
    for _ in range(5):
        button.turn(False)
        button.wait(0.003)
        button.turn(True)
        button.wait(0.002)
    button.turn(False)
    button.wait(0.2)
    assert button.told == ["short"]


def test_a_spike_is_no_press() -> None:
    button = Button()
    button.press(0.02)
    assert button.told == []


@pytest.mark.parametrize("lost", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize(("seconds", "expected"), [(0.1, "short"), (1.0, "long")])
def test_a_lost_edge_costs_nothing_and_fires_nothing(
    lost: tuple[bool, bool], seconds: float, expected: Press
) -> None:
    button = Button()
    button.press(seconds, lost=lost)
    button.wait(5.0)
    assert button.told == [expected]
    button.press(0.1)
    assert button.told == [expected, "short"]


def test_a_stuck_button_fires_once_and_works_again_when_it_is_free() -> None:
    button = Button()
    button.turn(True)
    button.wait(60.0)
    assert button.told == ["long"]
    button.turn(False)
    button.wait(0.1)
    button.press(0.1)
    assert button.told == ["long", "short"]


def test_a_button_held_from_the_start_fires_nothing() -> None:
    button = Button()
    button.detector = PressDetector(DEBOUNCE_S, LONG_S)
    button.active = True
    button.wait(5.0)
    button.turn(False)
    button.wait(0.1)
    assert button.told == []
    button.press(0.1)
    assert button.told == ["short"]


@pytest.mark.parametrize(("seconds", "expected"), [(0.1, "short"), (1.0, "long")])
def test_edges_alone_suffice_when_nobody_had_time_to_look(seconds: float, expected: Press) -> None:
    """A machine that stood still hands all the edges over at once, with their times."""
    button = Button()
    button.turn(True)
    button.wait(seconds, looks=False)
    button.turn(False)
    button.wait(0.2, looks=False)
    button.turn(True)
    button.wait(0.1, looks=False)
    button.turn(False)
    button.wait(0.1)
    assert button.told == [expected, "short"]


def test_a_lost_release_that_nobody_saw_is_not_held_on() -> None:
    """Two taps, the first one's release lost and no look between: not one long press."""
    button = Button()
    button.turn(True)
    button.wait(0.1)
    button.turn(False, lost=True)
    button.wait(0.6, looks=False)
    button.press(0.3)
    assert button.told == ["short"]


def test_a_late_look_does_not_make_a_press_of_a_spike() -> None:
    """Its first edge came, the second got lost, and the next look is late."""
    button = Button()
    button.turn(True)
    button.turn(False, lost=True)
    button.wait(0.3, looks=False)
    button.wait(1.0)
    assert button.told == []


def test_it_says_when_to_look_again_soon() -> None:
    button = Button()
    assert not button.detector.unsettled
    button.turn(True)
    assert button.detector.unsettled
    assert button.detector.held_s is None
    button.wait(0.1)
    assert button.detector.unsettled
    assert button.detector.held_s == pytest.approx(100.1)
    button.wait(1.0)
    assert not button.detector.unsettled  # told; what is left is a release, at leisure
    button.turn(False)
    assert button.detector.unsettled
    button.wait(0.1)
    assert not button.detector.unsettled


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.04, 2.0), st.floats(FOUND_S, 0.5), st.booleans(), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_any_presses_with_any_edges_lost(
    presses: list[tuple[float, float, bool, bool]],
) -> None:
    """While the pin is looked at, each press is told once, and rightly, whatever gets lost."""
    button = Button()
    for held_s, pause_s, lost_down, lost_up in presses:
        told = len(button.told)
        button.turn(True, lost=lost_down)
        button.wait(held_s)
        button.turn(False, lost=lost_up)
        button.wait(pause_s)
        assert len(button.told) <= told + 1
        if held_s > FOUND_S and abs(held_s - LONG_S) > FOUND_S:
            assert button.told[told:] == ["long" if held_s > LONG_S else "short"]
