"""One restoration in a process of its own: started by the restorer for each job.

It reads a request (`Request`, JSON) from standard input, writes the photograph and its report, and
ends with one of the exit codes below and one line on standard error.

Failure policy: whatever happens here costs one attempt. Memory is limited (RLIMIT_DATA), time by
the parent; a crash of native code ends this process only. It goes when its parent goes, gives way
to every other process, and is the first to go when the machine runs out of memory.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from device.commands.restoring import one_line
from device.commands.shoot import restore_or_keep
from device.config import Config
from device.errors import ModelError, StillpiError
from device.memory import use_one_arena
from device.notices import Notice
from device.output import write_report
from device.shipped_models import SHIPPED_MODELS
from firmware_bridge.errors import BridgeError

EXIT_DONE, EXIT_BUG, EXIT_REFUSED, EXIT_MEMORY, EXIT_DISK = 0, 1, 2, 3, 4
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
_PR_SET_PDEATHSIG = 1
_NICENESS = 10


class Request(BaseModel):
    """config : what to restore with. bundle, target : where from, and the photograph to write.

    models : "default", "none" or folders; the first that runs here is used, and the report warns
        of those that do not.
    parent : the process that asked.
    """

    config: Config
    bundle: Path
    target: Path
    models: list[str]
    memory_mb: int
    parent: int


def main() -> int:
    """Do what standard input asks for; the exit code."""
    request = Request.model_validate_json(sys.stdin.buffer.read())
    _stay_small(request.memory_mb, request.parent)
    try:
        restore(request)
    except MemoryError:
        _say(f"more than {request.memory_mb} MB of memory are needed")
        return EXIT_MEMORY
    except (StillpiError, BridgeError, OSError) as error:
        _say(one_line(error))
        of_the_disk = isinstance(error, OSError) and error.errno in _DISK
        return EXIT_DISK if of_the_disk else EXIT_REFUSED
    return EXIT_DONE


def _say(words: str) -> None:
    """Tell the parent why; past Python's buffers, whose end would fail on a full disk.

    What hears it is a file on the disk that may be full: the exit code must get through anyway.
    """
    with suppress(OSError):
        os.write(2, f"{words}\n".encode(errors="replace"))


def restore(request: Request) -> dict[str, Any]:
    """Write the restored photograph and its report beside it; the report.

    Without usable motion the photograph is written as it was taken, and the report says so.
    Raises ModelError when no model of the request runs, and what `restore_or_keep` raises.
    """
    failures: list[ModelError] = []
    for model in request.models:
        try:
            report = restore_or_keep(
                _with_model(request.config, model), request.bundle, request.target
            )
        except ModelError as error:
            failures.append(error)
            continue
        if failures:
            notices = [Notice("model-failed", one_line(failure)) for failure in failures]
            report["warnings"] += [notice.to_json() for notice in notices]
            write_report(request.target.with_suffix(".json"), report)
        return report
    raise failures[0]


def _with_model(config: Config, model: str) -> Config:
    chosen = model if model in (*SHIPPED_MODELS, "none") else Path(model)
    section = config.restoration.model_copy(update={"model": chosen})
    return config.model_copy(update={"restoration": section})


def _stay_small(memory_mb: int, parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before we asked to go with it
        os._exit(EXIT_BUG)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 2**20,) * 2)
    with suppress(OSError):  # a courtesy that not every sandbox allows
        os.nice(_NICENESS)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    use_one_arena()


if __name__ == "__main__":
    sys.exit(main())
