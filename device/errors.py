"""Errors of the device: one root, leaves that also are the standard kind they specialise.

The command line prints the `lines` of a `StillpiError`, one in nearly every case, and exits with
code 2; anything else is a bug and shows its traceback.
"""

from __future__ import annotations


class StillpiError(Exception):
    """Root of every error this package raises on purpose."""

    def lines(self) -> list[str]:
        """What to tell a person, a line for each thing that is wrong."""
        return [" ".join(str(self).split())]


class InputError(StillpiError, ValueError):
    """Bad input: names the file, the field, what was found and what was expected."""

    def __init__(self, file: object, field: str, found: object, expected: str) -> None:
        self.file, self.field, self.found, self.expected = str(file), field, found, expected
        super().__init__(f"{file}: {field}: found {found}, expected {expected}")


class CameraError(StillpiError, RuntimeError):
    """The camera cannot be opened, configured or did not deliver a frame."""


class ModelError(StillpiError, RuntimeError):
    """A model bundle does not fit this program; names what differs."""
