"""Log lines: with journald's priorities under systemd, with the time on a terminal.

journald reads `<3>` at the start of a line as its priority (sd-daemon(3)).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import TextIO

_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.DEBUG, 7),
)


class JournalFormatter(logging.Formatter):
    """Every line with its priority: a traceback must not lose its own after the first."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's lines."""
        priority = next((p for level, p in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def set_up_logging(
    environment: Mapping[str, str] = os.environ, stream: TextIO = sys.stderr
) -> None:
    """Log to standard error; $JOURNAL_STREAM is set where that is journald's."""
    handler = logging.StreamHandler(stream)
    if "JOURNAL_STREAM" in environment:
        handler.setFormatter(JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
