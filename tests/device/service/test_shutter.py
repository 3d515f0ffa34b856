"""The button on gpiozero's fake pins, with a clock that the tests turn."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory, MockPin
from mock_pins import mock_pins
from waiting import until

from device.config_service import ShutterConfig
from device.service.gpio import GpioError
from device.service.presses import Press
from device.service.shutter import STUCK_S, ShutterError, open_shutter

PIN = 17
CONFIG = ShutterConfig(kind="gpio", pin=PIN)


class Finger:
    """Presses a button between the pin and ground."""

    def __init__(self, pin: MockPin) -> None:
        self.pin, self.now_s = pin, 1e6  # far from the pin's own clock
        self.told: list[Press] = []

    def clock(self) -> float:
        return self.now_s

    def down(self, seconds: float) -> None:
        self.pin.drive_low()
        self.now_s += seconds

    def up(self) -> None:
        self.pin.drive_high()
        self.now_s += 0.2

    def told_are(self, *expected: Press) -> bool:
        until(lambda: len(self.told) >= len(expected))
        return self.told == list(expected)


@pytest.fixture
def pins() -> Iterator[MockFactory]:
    with mock_pins() as factory:
        yield factory


@pytest.fixture
def finger(pins: MockFactory) -> Finger:
    return Finger(pins.pin(PIN))


def test_short_and_long_presses(finger: Finger) -> None:
    with open_shutter(CONFIG, finger.told.append, monotonic_s=finger.clock) as shutter:
        finger.down(0.1)
        finger.up()
        assert finger.told_are("short")
        finger.down(1.0)
        assert finger.told_are("short", "long")  # while it is held
        finger.up()
        finger.down(0.1)
        finger.up()
        assert finger.told_are("short", "long", "short")
        shutter.check()


def test_a_button_to_the_supply(pins: MockFactory) -> None:
    finger = Finger(pins.pin(PIN))
    config = CONFIG.model_copy(update={"pull_up": False})
    with open_shutter(config, finger.told.append, monotonic_s=finger.clock):
        assert finger.pin.pull == "down"
        finger.pin.drive_high()
        finger.now_s += 0.1
        finger.pin.drive_low()
        finger.now_s += 0.2
        assert finger.told_are("short")


@pytest.mark.parametrize("edges", ["falling", "rising", "none"])
def test_a_lost_edge_neither_fires_again_nor_blocks(finger: Finger, edges: str) -> None:
    """`falling` loses every release, `rising` every press, `none` both."""
    with open_shutter(CONFIG, finger.told.append, monotonic_s=finger.clock):
        looks = count_looks(finger)
        finger.pin.edges = edges
        for presses in (1, 2):
            finger.down(0.0)
            pass_time(finger, looks, 0.1)
            finger.up()
            pass_time(finger, looks, 0.1)
            assert finger.told_are(*["short"] * presses)
            pass_time(finger, looks, 30.0)
            assert len(finger.told) == presses


def count_looks(finger: Finger) -> list[float]:
    """Grows by one whenever the thread reads the pin."""
    looks: list[float] = []
    read = finger.pin._get_state

    def counted() -> bool:
        looks.append(finger.now_s)
        return bool(read())

    finger.pin._get_state = counted
    return looks


def pass_time(finger: Finger, looks: list[float], seconds: float) -> None:
    """Turn the clock on, with two looks before and after."""
    for step_s in (0.0, seconds):
        finger.now_s += step_s
        seen = len(looks)
        until(lambda seen=seen: len(looks) >= seen + 2)


def test_a_stuck_button_is_told_once_and_closing_does_not_wait_for_it(
    finger: Finger, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        open_shutter(CONFIG, finger.told.append, monotonic_s=finger.clock),
    ):
        looks = count_looks(finger)
        finger.down(1.0)
        assert finger.told_are("long")
        for _ in range(3):
            pass_time(finger, looks, STUCK_S)
        assert finger.told == ["long"]
    assert [record.message for record in caplog.records] == [
        "the shutter button has been down for 20 s: is it stuck, or shutter.pull_up wrong?"
        " `stillpi trigger` works all the same"
    ]


def test_nothing_is_told_after_closing(finger: Finger) -> None:
    with open_shutter(CONFIG, finger.told.append, monotonic_s=finger.clock):
        pass
    finger.down(1.0)
    finger.up()
    assert finger.told == []
    with open_shutter(CONFIG, finger.told.append, monotonic_s=finger.clock):
        finger.down(0.1)
        finger.up()
        assert finger.told_are("short")


def test_no_button(pins: MockFactory) -> None:
    with open_shutter(ShutterConfig(kind="none"), print) as shutter:
        shutter.check()
    assert not pins.pins


def test_a_pin_that_is_in_use(finger: Finger) -> None:
    with (
        open_shutter(CONFIG, print),
        pytest.raises(GpioError, match=r"shutter\.pin: GPIO 17: .* in use by .*group gpio\?"),
        open_shutter(CONFIG, print),
    ):
        pass


def test_a_machine_without_lgpio(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other library instead: the others lose edges on today's kernels."""
    monkeypatch.setattr(Device, "pin_factory", None)
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.setitem(sys.modules, "lgpio", None)
    with (
        pytest.raises(GpioError, match=r"shutter\.pin: .*lgpio.*apt install python3-lgpio"),
        open_shutter(CONFIG, print),
    ):
        pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_told_to_the_work_loop(finger: Finger) -> None:
    def fails(press: Press) -> None:
        raise RuntimeError(press)

    with open_shutter(CONFIG, fails, monotonic_s=finger.clock) as shutter:
        finger.down(0.1)
        finger.up()

        def died() -> bool:
            try:
                shutter.check()
            except ShutterError:
                return True
            return False

        until(died)
