"""The local socket through which scripts and the command line talk to the running service.

One JSON object on a line in, one on a line out, then the connection ends:

    {"do": "trigger", "press": "short"}   ->  {"ok": true, "number": 12, "bundle": "...", ...}
    {"do": "status"}                      ->  {"ok": true, "status": {...}}
    {"do": "deliveries"}                  ->  {"ok": true, "deliveries": [...]}
    {"do": "keep", "number": 12, "keep": true}
    {"do": "reprocess", "since": 1, "model": null}
    anything that cannot be done          ->  {"ok": false, "error": "why"}

Whoever may write to the socket (its owner and group) may use it.

Failure policy: a request that is nonsense, endless or never comes costs its connection; an error
of a request is its answer; a bug in one is logged with its traceback, and the service goes on.
"""

from __future__ import annotations

import json
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from device.errors import StillpiError
from firmware_bridge.errors import BridgeError

_log = logging.getLogger(__name__)

LONGEST_REQUEST = 65_536
MOST_CONNECTIONS = 32
_REQUEST_S = 10.0
_MODE = 0o660

Request = Mapping[str, Any]
Answer = Mapping[str, Any]
Handler = Callable[[Request], Answer]


class ControlError(StillpiError, RuntimeError):
    """The service cannot be asked, or says why it did not do what it was asked for."""


class RequestError(StillpiError, ValueError):
    """A request that nothing can be made of."""


class ControlServer:
    """Answers requests at a socket, each in a thread of its own.

    handlers : what can be asked for; an expected error of a handler becomes the answer.

    Raises OSError when the socket cannot be made. One that a dead process left is replaced: only
    one service runs on a state folder.
    """

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self.name, self.path, self._handlers = "control", path, handlers
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._server = _Server(path, self._serve)
        path.chmod(_MODE)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name=self.name, daemon=True
        )

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Answer no more, and take the socket away."""
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self.path.unlink(missing_ok=True)

    @property
    def is_well(self) -> bool:
        """Whether requests are taken."""
        return self._thread.is_alive()

    def _serve(self, connection: socket.socket) -> None:
        if not self._free.acquire(blocking=False):
            _send(connection, {"ok": False, "error": "too many requests at once"})
            return
        try:
            connection.settimeout(_REQUEST_S)
            with connection.makefile("rb") as lines:
                line = lines.readline(LONGEST_REQUEST)
            _send(connection, self._answer(line))
        finally:
            self._free.release()

    def _answer(self, line: bytes) -> Answer:
        try:
            request = _parsed(line)
            handler = self._handlers.get(str(request.get("do")))
            if handler is None:
                known = ", ".join(sorted(self._handlers))
                raise RequestError(f"do: found {request.get('do')!r}, expected one of {known}")
            return {"ok": True, **handler(request)}
        except (StillpiError, BridgeError, OSError) as error:
            return {"ok": False, "error": str(error)}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, path: Path, serve: Callable[[socket.socket], None]) -> None:
        self.serve = serve
        super().__init__(str(path), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that breaks is its client's affair; anything else is a bug."""
        _log.exception("a request failed")


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        with suppress(ConnectionError, TimeoutError):
            self.server.serve(self.request)


def _parsed(line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise RequestError("request: found no end of line, expected one line of JSON")
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise RequestError("request: found no JSON, expected one object on a line") from None
    if not isinstance(request, dict):
        raise RequestError(f"request: found {type(request).__name__}, expected an object")
    return request


def _send(connection: socket.socket, answer: Answer) -> None:
    connection.sendall(json.dumps(answer, allow_nan=False).encode() + b"\n")


def number_in(request: Request, key: str, default: int | None = None) -> int:
    """A whole number of a request. Raises RequestError."""
    value = request.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
        raise RequestError(f"{key}: found {value!r}, expected a whole number")
    return value


def ask(path: Path, request: Request, *, timeout_s: float = 60.0) -> dict[str, Any]:
    """Ask the running service; its answer.

    Raises ControlError when it says no or does not answer.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            _send(connection, request)
            with connection.makefile("rb") as lines:
                line = lines.readline()
    except (FileNotFoundError, ConnectionRefusedError):
        raise ControlError(
            f"{path}: the service does not run here (systemctl status stillpi; or: stillpi run)"
        ) from None
    except PermissionError:
        raise ControlError(
            f"{path}: not allowed: use sudo, or add your user to the group stillpi"
        ) from None
    except TimeoutError:
        raise ControlError(f"{path}: no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror or error}") from None
    if not line:
        raise ControlError(f"{path}: the service ended before it answered")
    answer: dict[str, Any] = json.loads(line)
    if not answer.get("ok"):
        raise ControlError(str(answer.get("error", "no reason given")))
    return answer
