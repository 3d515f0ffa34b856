"""How a run was started, as it is kept beside what the run made."""

from __future__ import annotations

import shlex
import sys


def command_line() -> str:
    """The `stillpi-train` command under way, as a shell takes it."""
    return shlex.join(["stillpi-train", *sys.argv[1:]])
