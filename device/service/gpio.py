"""The GPIO library: gpiozero on lgpio, the one that works with the Pi's present kernels.

gpiozero's own choice is respected where one was made: `Device.pin_factory` (tests), or
$GPIOZERO_PIN_FACTORY. Both packages are imported only when a pin is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from device.errors import StillpiError


class GpioError(StillpiError, RuntimeError):
    """A pin cannot be used; says which and what to do."""


@contextmanager
def pin_errors(section: str, pin: int) -> Iterator[None]:
    """Turn what the libraries raise into a GpioError about this section of the configuration."""
    try:
        yield
    except ImportError as error:
        raise GpioError(
            f"{section}.pin: {error}: GPIO needs `apt install python3-lgpio` and the extra"
            f" stillpi[pi] (or set {section}.kind to none)"
        ) from error
    except _library_errors() as error:
        raise GpioError(
            f"{section}.pin: GPIO {pin}: {error}: does another program use it, and is this user"
            " in the group gpio?"
        ) from error


def _library_errors() -> tuple[type[Exception], ...]:
    """What the libraries raise, of those that were imported."""
    roots = (("gpiozero", "GPIOZeroError"), ("lgpio", "error"))
    return (OSError, *(getattr(sys.modules[m], name) for m, name in roots if m in sys.modules))


def pin_factory() -> Any:
    """The factory of pins; may raise ImportError and the errors of both libraries."""
    device = import_module("gpiozero").Device
    if device.pin_factory is None and "GPIOZERO_PIN_FACTORY" not in os.environ:
        device.pin_factory = _lgpio_factory()
    device.ensure_pin_factory()
    return device.pin_factory


def _lgpio_factory() -> Any:
    """As gpiozero would make it, but no other library instead when lgpio fails."""
    import_lgpio()
    return import_module("gpiozero.pins.lgpio").LGPIOFactory()


def import_lgpio() -> Any:
    """Import lgpio without its side effects.

    The import makes a pipe in the folder $LG_WD, or in the current one without it, and makes
    that the current folder: every relative path of the program would lead elsewhere.
    """
    before = Path.cwd()
    with TemporaryDirectory(prefix="stillpi-lgpio-", ignore_cleanup_errors=True) as folder:
        os.environ.setdefault("LG_WD", folder)
        try:
            return import_module("lgpio")
        finally:
            os.chdir(before)
            if os.environ["LG_WD"] == folder:
                del os.environ["LG_WD"]
