from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpiozero.exc import PinInvalidState
from gpiozero.pins.mock import MockFactory
from hypothesis import given
from hypothesis import strategies as st
from mock_pins import mock_pins
from waiting import until

from device.config_service import LedConfig
from device.service import led as led_module
from device.service.gpio import GpioError
from device.service.led import PATTERNS, Pattern, light, open_led

PIN = 27
CONFIG = LedConfig(kind="gpio", pin=PIN)


@pytest.fixture
def pins() -> Iterator[MockFactory]:
    with mock_pins() as factory:
        yield factory


def flashes(pattern: Pattern, span_s: float) -> list[tuple[bool, float]]:
    """What is seen of a pattern: (on, seconds) after each other."""
    seen, now_s = [], 0.0
    while now_s < span_s - 1e-3:
        assert len(seen) < 100
        on, left_s = light(pattern, now_s)
        left_s = span_s if left_s is None else left_s
        seen.append((on, round(left_s, 6)))
        now_s += left_s
    return seen


def test_the_patterns_are_those_of_the_documentation() -> None:
    assert flashes("ready", 60.0) == [(True, 60.0)]
    assert flashes("off", 60.0) == [(False, 60.0)]
    assert flashes("busy", 0.2) == [(True, 0.05), (False, 0.05)] * 2
    assert flashes("backlog", 2.0) == [(True, 0.9), (False, 0.1)] * 2
    assert flashes("refusing", 1.5) == [(True, 0.15), (False, 0.15), (True, 0.15), (False, 1.05)]
    assert [on for on, _ in flashes("error", 1.8)] == [True, False] * 3
    assert set(PATTERNS) <= {line.split()[0] for line in _docs().splitlines() if line.strip()}


def _docs() -> str:
    return led_module.__doc__ or ""


@given(st.sampled_from(list(PATTERNS)), st.floats(0, 1e7))
def test_a_pattern_always_goes_on(pattern: Pattern, shown_s: float) -> None:
    _, left_s = light(pattern, shown_s)
    assert left_s is None or 1e-5 < left_s <= 1.06


def test_the_light_shows_what_it_is_told(pins: MockFactory) -> None:
    pin = pins.pin(PIN)
    with open_led(CONFIG) as led:
        assert not pin.state
        led.show("ready")
        until(lambda: pin.state)
        led.show("off")
        until(lambda: not pin.state)
        pin.clear_states()
        led.show("busy")
        until(lambda: len(pin.states) > 6)
        states = [state.state for state in pin.states[1:7]]
        assert states == [True, False] * 3
        led.show("ready")
        until(lambda: pin.state)
    assert not pin.state


def test_the_same_pattern_again_does_not_start_anew(pins: MockFactory) -> None:
    now_s = [0.0]
    pin = pins.pin(PIN)
    with open_led(CONFIG, monotonic_s=lambda: now_s[0]) as led:
        led.show("backlog")
        until(lambda: pin.state)
        now_s[0] = 0.95
        led.show("backlog")
        until(lambda: not pin.state)


def test_no_light(pins: MockFactory) -> None:
    with open_led(LedConfig(kind="none")) as led:
        led.show("error")
    assert not pins.pins


def test_a_pin_that_is_in_use(pins: MockFactory) -> None:
    with (
        open_led(CONFIG),
        pytest.raises(GpioError, match=r"led\.pin: GPIO 27: .* in use"),
        open_led(CONFIG),
    ):
        pass


def test_a_light_that_fails_later_is_logged_and_left(
    pins: MockFactory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = pins.pin(PIN)

    def broken(value: float) -> None:
        raise PinInvalidState("the chip is gone")

    with open_led(CONFIG) as led:
        led.show("ready")
        until(lambda: pin.state)
        monkeypatch.setattr(pin, "_set_state", broken)
        with caplog.at_level(logging.ERROR):
            led.show("off")
            until(lambda: caplog.records)
        led.show("error")
        monkeypatch.undo()
    assert "the light has failed: led.pin: GPIO 27: the chip is gone" in caplog.text


def test_the_readme_lists_the_patterns() -> None:
    readme = (Path(__file__).resolve().parents[3] / "README.md").read_text()
    for pattern in PATTERNS:
        assert f"| {pattern} |" in readme, pattern
