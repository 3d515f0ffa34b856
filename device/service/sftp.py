"""One session with a server over OpenSSH's `sftp`, command by command, each with its time limit.

sftp runs in batch mode (`-b -`): it echoes each command it reads from the pipe, carries it out,
and ends at the first that fails. A harmless `version` after every command tells that the one
before has succeeded. Keys only, never a password; the server's key must be known; none of the
user's own settings are read.

Failure policy: every failure is a PushError, one line that says what to do about it, and it ends
the session; a server that does not answer in time is hung up on. Nothing is retried here.
sftp ends by itself when this process dies: its pipe ends.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from device.config_service import PushConfig
from device.service.push_errors import PushError, explain

GOOD_BYE_S = 2.0
_LOOK_S = 0.2
_END_OF_ANSWER = re.compile(r"^SFTP protocol version \d+$", re.MULTILINE)
_ECHO = "sftp> "


@dataclass(frozen=True)
class Patience:
    """How long a server may take.

    connect_s : until the connection stands. answer_s : for any command, and on top of it what
        a file needs at the slowest line worth waiting for, slowest_bytes_s; never longer than
        longest_s.
    """

    connect_s: float = 20.0
    answer_s: float = 30.0
    slowest_bytes_s: float = 50_000.0
    longest_s: float = 270.0


class SftpSession:
    """An open session in the configured folder. Close it; closing twice is fine.

    stop : when it is set, whatever goes on is ended at once, with a PushError.
    Raises PushError when the server cannot be reached, does not know us or is not known.
    """

    def __init__(
        self,
        server: PushConfig,
        patience: Patience | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.server, self.patience = server, patience or Patience()
        self._stop = stop or threading.Event()
        self._said = ""
        self._process = self._start()
        try:
            self._do(f"cd {quoted(server.folder)}", self.patience.connect_s)
        except PushError as error:
            self.close()
            if error.reason == "refused-key":
                _require_usable_key(server)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def do(self, command: str, transfer_bytes: int = 0) -> list[str]:
        """Carry out one command; what sftp said. A leading `-` lets it fail.

        transfer_bytes : the size of the file it moves.
        """
        patience = self.patience
        limit_s = patience.answer_s + transfer_bytes / patience.slowest_bytes_s
        return self._do(command, min(limit_s, patience.longest_s))

    def size_of(self, name: str) -> int | None:
        """Bytes of a file in the folder; None when there is none of that name."""
        for line in self.do(f"-ls -ln {quoted(name)}"):
            fields = line.split()
            # Of a folder of that name, its files would be listed.
            if line.startswith("-") and line.endswith(f" {name}") and fields[4].isdecimal():
                return int(fields[4])
        return None

    def close(self) -> None:
        """Say good-bye, or hang up on a server that does not react to it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(GOOD_BYE_S)
        except subprocess.TimeoutExpired:
            self._hang_up()
            self._process.wait()
        self._process.stdout.close()

    def _hang_up(self) -> None:
        """End whatever goes on, at once."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _start(self) -> subprocess.Popen[bytes]:
        program = shutil.which("sftp")
        if program is None:
            raise PushError("program", "sftp is not installed: sudo apt install openssh-client")
        return subprocess.Popen(
            [program, "-b", "-", *_options(self.server, self.patience), _destination(self.server)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,  # closing ends ssh, its child, with it
        )

    def _do(self, command: str, limit_s: float) -> list[str]:
        self._said = ""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, and its last words tell why
            self._process.stdin.write(f"{command}\nversion\n".encode())
        end_s = time.monotonic() + limit_s
        while (end := _END_OF_ANSWER.search(self._said)) is None:
            chunk = self._read(end_s)
            if chunk is None:
                self._hang_up()
                said = "stopped" if self._stop.is_set() else f"no answer within {limit_s:.0f} s"
                raise explain(self.server, said)
            if not chunk:
                raise explain(self.server, "\n".join(_lines(self._said)))
            self._said += chunk.decode(errors="replace").replace("\r", "")
        return _lines(self._said[: end.start()])

    def _read(self, end_s: float) -> bytes | None:
        """What sftp says next; nothing when it has ended, None when it is not said in time."""
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        while (left_s := end_s - time.monotonic()) > 0 and not self._stop.is_set():
            ready, _, _ = select.select([output], [], [], min(left_s, _LOOK_S))
            if ready:
                return os.read(output, 65536)
        return None


def _require_usable_key(server: PushConfig) -> None:
    """Raise PushError for a key that needs a passphrase; to ssh it is one the server refused."""
    program = shutil.which("ssh-keygen")
    if program is None:
        return
    command = [program, "-y", "-P", "", "-f", str(server.key)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise explain(server, done.stderr)


def quoted(name: str) -> str:
    r"""A name as one word of an sftp command; no letter of it means anything else.

    >>> print(quoted('a "b" [c]'))
    "a \"b\" [c]"
    """
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _options(server: PushConfig, patience: Patience) -> list[str]:
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": _config_path(str(server.known_hosts)),
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "IdentityFile": _config_path(str(server.key)),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ConnectTimeout": f"{max(1, round(patience.connect_s))}",
        "ConnectionAttempts": "1",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "3",
        "LogLevel": "INFO",
    }
    given = [f"-o{key}={value}" for key, value in options.items()]
    return ["-F", "none", *given, "-P", str(server.port)]


def _config_path(path: str) -> str:
    """A path in ssh's configuration: quoted, and a percent sign is one."""
    escaped = path.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _destination(server: PushConfig) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{server.user}@{host}"


def _lines(said: str) -> list[str]:
    """What was said besides the echoes."""
    lines = (line.strip() for line in said.splitlines())
    return [line for line in lines if line and not line.startswith(_ECHO)]
