"""Who made a file: name and version of this program."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def software_name() -> str:
    """`stillpi VERSION`, as written into every photograph, report and page."""
    try:
        return f"stillpi {version('stillpi')}"
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "stillpi"
