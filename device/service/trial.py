"""A trial of delivery: does a file get into the spool and onto the server, and if not, why?

Failure policy: nothing is left behind and nothing of the service's is touched; what does not work
is an error whose one line says what to do.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from pathlib import Path

from device.config_service import PushConfig
from device.errors import InputError
from device.service.machine import free_mb
from device.service.push import push
from device.service.push_errors import place
from device.service.sftp import Patience, SftpSession, quoted
from device.service.spool import what_to_do
from firmware_bridge.whole_file import whole_file


def try_spool(spool: Path) -> str:
    """Write a file into the spool and remove it; what was found. Raises InputError, OSError."""
    if not spool.is_dir():
        raise InputError(spool, "spool", "no folder", "the service's: start it, it makes one")
    trial = spool / f".stillpi-trial-{secrets.token_hex(4)}"
    try:
        with whole_file(trial) as file:
            file.write(b"stillpi deliver test\n")
    except OSError as error:
        # The folder is what the person knows.
        reason = f"{error.strerror}{what_to_do(error, spool)}"
        raise OSError(error.errno, reason, str(spool)) from error
    trial.unlink()
    waiting = sum(1 for path in spool.glob("IMG_*") if path.suffix in (".jpg", ".png", ".dng"))
    return f"{spool}: OK, {waiting} photographs to fetch, {free_mb(spool) or 0:.0f} MB free"


def try_server(server: PushConfig, patience: Patience | None = None) -> str:
    """Send a file, confirm it, remove it; what was found. Raises PushError, OSError."""
    begin_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        SftpSession(server, patience) as session,
    ):
        trial = Path(folder) / f"stillpi-trial-{secrets.token_hex(4)}.txt"
        trial.write_text("stillpi deliver test: this file may be deleted\n")
        push(session, trial)
        session.do(f"rm {quoted(trial.name)}")
    spent_s = time.monotonic() - begin_s
    return f"{place(server)}: OK, a file was sent, confirmed and removed in {spent_s:.1f} s"
