"""A real OpenSSH server on loopback for tests: started, stopped, cut off and given other keys.

It runs as the user of the tests, who logs in with a key made for it; nothing of the machine's own
server or of the user's ~/.ssh is read or changed. What it serves is a plain folder to look into.
"""

from __future__ import annotations

import getpass
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pytest

PATIENCE_S = 10.0
PRIVILEGE_SEPARATION = Path("/run/sshd")
"""A server started by root wants this folder; the system's own start makes it, too."""


def ssh_key(path: Path) -> Path:
    """A new key pair without passphrase: PATH and PATH.pub."""
    for old in (path, path.with_name(f"{path.name}.pub")):
        old.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


class Sshd:
    """A server on 127.0.0.1 with one user, `user`, whose private key is `key`.

    port : the same over all starts. inbox : an empty folder for what is sent.
    known_hosts : the server's key as of now; `change_host_key` leaves it stale.
    largest_file : bytes after which writing a file fails on the server, as on a full disk.
    sftp : False for a server that has only shells.
    """

    def __init__(self, folder: Path, *, largest_file: int | None = None, sftp: bool = True) -> None:
        self.program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if self.program is None or shutil.which("sftp") is None:
            pytest.skip("needs OpenSSH's server and client (apt: openssh-server openssh-client)")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.largest_file, self.sftp = folder, largest_file, sftp
        self.host, self.port, self.user = "127.0.0.1", free_port(), getpass.getuser()
        self.key = ssh_key(folder / "client_key")
        self.known_hosts = folder / "known_hosts"
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        self._host_key = ssh_key(folder / "host_key")
        shutil.copy(self.key.with_name("client_key.pub"), folder / "authorized_keys")
        self.trust()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Sshd:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def reset(self) -> None:
        """Running, known, with an empty inbox, whatever a test did to it."""
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self.start()
        self.end_sessions()
        self.trust()
        shutil.rmtree(self.inbox)
        self.inbox.mkdir()

    def trust(self) -> None:
        """Write the server's present key into known_hosts."""
        kind, key, *_ = self._host_key.with_name("host_key.pub").read_text().split()
        self.known_hosts.write_text(f"[{self.host}]:{self.port} {kind} {key}\n")

    def change_host_key(self) -> None:
        """As after a new installation: another key, which nobody knows; restarts the server."""
        self.stop()
        ssh_key(self._host_key)
        self.start()

    def start(self) -> None:
        """Listen; returns when the server answers."""
        assert self._process is None, "it runs already"
        if os.geteuid() == 0:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(self._config())
        with (self.folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self.program), "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                preexec_fn=self._limit,
            )
        self._wait_until_it_answers()

    def stop(self) -> None:
        """Stop listening and end every session; stopping twice is fine."""
        if self._process is None:
            return
        self.end_sessions()
        self._process.kill()
        self._process.wait()
        self._process = None

    def end_sessions(self) -> int:
        """Kill every session in the middle of what it does; how many processes that were."""
        pids = self.session_pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(pids)

    def freeze_sessions(self) -> int:
        """Let every session hang: its connection stays, nothing answers any more."""
        pids = self.session_pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        return len(pids)

    def session_pids(self) -> list[int]:
        """The processes of all sessions, youngest first."""
        found: list[int] = []
        todo = [self._process.pid] if self._process is not None else []
        while todo:
            children = _children(todo.pop())
            found += children
            todo += children
        return found[::-1]

    def log(self) -> str:
        """What the server wrote."""
        return (self.folder / "sshd.log").read_text(errors="replace")

    def _config(self) -> str:
        lines: dict[str, object] = {
            "Port": self.port,
            "ListenAddress": self.host,
            "HostKey": f'"{self._host_key}"',
            "AuthorizedKeysFile": f'"{self.folder / "authorized_keys"}"'.replace("%", "%%"),
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "yes",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "MaxStartups": 100,
        }
        if self.sftp:
            lines["Subsystem"] = "sftp internal-sftp"
        return "".join(f"{key} {value}\n" for key, value in lines.items())

    def _limit(self) -> None:
        if self.largest_file is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error of write, not a death
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.largest_file, self.largest_file))

    def _wait_until_it_answers(self) -> None:
        process, end_s = self._process, time.monotonic() + PATIENCE_S
        assert process is not None
        while time.monotonic() < end_s and process.poll() is None:
            with (
                suppress(OSError),
                socket.create_connection((self.host, self.port), timeout=PATIENCE_S) as answer,
            ):
                if answer.recv(4) == b"SSH-":
                    return
            time.sleep(0.02)
        self.stop()
        pytest.fail(f"sshd does not run here: {self.log().strip()[-500:]}")


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children(pid: int) -> list[int]:
    """The processes that a process started itself."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # pid (name) state ppid ...; the name may hold anything but ends at the last bracket
            if int(status.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(status.parent.name))
    return found
