"""From what a checker found to one line for the person: file, field, found, expected."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from device.errors import InputError

LONGEST_FOUND = 60


def shown(value: object) -> str:
    """A value on one short line, quotes around text."""
    if value is None:
        return "null"
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST_FOUND else text[: LONGEST_FOUND - 3] + "..."


def field_name(*parts: str | int) -> str:
    """A path into a document: timing.exposure_ns, intrinsics[0].

    >>> field_name("cam0", "T_cam_imu", 0, 3)
    'cam0.T_cam_imu[0][3]'
    """
    name = ""
    for part in parts:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += f".{part}" if name else part
    return name


def first_problem(file: object, error: ValidationError, *prefix: str) -> InputError:
    """The first of pydantic's findings as an InputError."""
    finding = error.errors(include_url=False, include_context=False)[0]
    field = field_name(*prefix, *finding["loc"]) or "the document"
    if finding["type"] == "missing":
        return InputError(file, field, "nothing", "a value")
    expected = finding["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return InputError(file, field, shown(finding["input"]), expected)


def read_text(path: Path, expected: str) -> str:
    """The text of a file; a missing, unreadable or non-UTF-8 one is an InputError."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(path, "file", "nothing", expected) from None
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at offset {error.start}"
        raise InputError(path, "file", found, "UTF-8 text") from None
    except OSError as error:
        raise InputError(path, "file", error.strerror or "an error", expected) from None
