"""systemd's notify protocol: one datagram of KEY=VALUE lines to the socket in $NOTIFY_SOCKET.

See sd_notify(3). Without that variable (a terminal, a test) nothing is sent.

Failure policy: telling systemd never costs a photograph. A datagram that cannot be sent is
dropped, and the first time it is logged; when it was the watchdog's, systemd restarts the service.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

_log = logging.getLogger(__name__)

LONGEST_STATUS = 200


class Notifier:
    """Tells systemd how the service is doing; safe from any thread.

    environment : where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID stand.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        # @ stands for the zero byte of Linux's abstract names.
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._failed = False
        self.watchdog_s = _watchdog_s(environment) if name else None
        """How often at least `watchdog` must be called; None when nobody waits for it."""

    def ready(self) -> None:
        """The service takes photographs now."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """What `systemctl status` shows, on one line."""
        line = " ".join(text.split())
        self._send(f"STATUS={line[:LONGEST_STATUS]}")

    def watchdog(self) -> None:
        """The work loop is alive; to be called from that loop and nowhere else."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The service is on its way out."""
        self._send("STOPPING=1")

    def _send(self, line: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(line.encode(), self._address)
        except OSError as error:
            if not self._failed:
                _log.warning("systemd's notify socket takes nothing: %s", error)
            self._failed = True
        else:
            self._failed = False


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Half of the unit's WatchdogSec, as sd_watchdog_enabled(3) advises."""
    meant_for, limit_us = environment.get("WATCHDOG_PID"), environment.get("WATCHDOG_USEC", "")
    if meant_for not in (None, str(os.getpid())) or not limit_us.isdecimal():
        return None
    return int(limit_us) * 1e-6 / 2 or None
