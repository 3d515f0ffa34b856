"""Pins of gpiozero's own fake factory, shared by the tests of the button and the light."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gpiozero import Device
from gpiozero.pins.mock import MockFactory


@contextmanager
def mock_pins() -> Iterator[MockFactory]:
    """A factory of fake pins that everything opened meanwhile uses."""
    before, factory = Device.pin_factory, MockFactory()
    Device.pin_factory = factory
    try:
        yield factory
    finally:
        factory.reset()
        Device.pin_factory = before
