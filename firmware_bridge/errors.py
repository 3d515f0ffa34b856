"""Errors of the driver: one root, leaves that also are the standard kind they specialise."""

from __future__ import annotations


class BridgeError(Exception):
    """Root of every error this package raises on purpose."""


class LogFormatError(BridgeError, ValueError):
    """A file is not what it claims: names the file, the place, what was found and expected."""

    def __init__(self, file: object, field: str, found: object, expected: str) -> None:
        self.file, self.field, self.found, self.expected = str(file), field, found, expected
        super().__init__(f"{file}: {field}: found {found}, expected {expected}")


class LinkError(BridgeError, OSError):
    """The sensor cannot be reached or stopped answering."""


class ProvisionError(BridgeError, RuntimeError):
    """The sensor did not take a setting; the message lists what differed."""
