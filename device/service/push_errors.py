"""From what OpenSSH said to one line for the person: what is wrong, and what to do about it."""

from __future__ import annotations

import re
import shlex
from typing import Literal

from device.config_service import PushConfig
from device.errors import StillpiError

Reason = Literal[
    "program", "key", "host-key", "refused-key", "connection", "folder", "write", "name", "other"
]


_MAY_PASS: frozenset[Reason] = frozenset({"connection", "other"})


class PushError(StillpiError, OSError):
    """A photograph was not pushed. reason : what kind of mistake; `name` is of that file alone."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason = reason
        super().__init__(message)

    @property
    def needs_person(self) -> bool:
        """Whether waiting alone will not mend it."""
        return self.reason not in _MAY_PASS


_KNOWN: tuple[tuple[str, Reason, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "host-key",
        "the server shows another key than the one in {known_hosts}. If it was installed anew:"
        " ssh-keygen -R '{entry}' -f {known_hosts}, then {scan}. If not, somebody may be"
        " listening in between: send nothing there",
    ),
    (
        r"No \S+ host key is known|Host key verification failed",
        "host-key",
        "the server's key is not in {known_hosts}: {scan}, and compare it with the server's own"
        " (there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)",
    ),
    (
        r"UNPROTECTED PRIVATE KEY FILE|bad permissions",
        "key",
        "others may read {key}, so ssh does not use it: chmod 600 {key}",
    ),
    (
        r"no such identity|Identity file \S+ not accessible: No such file",
        "key",
        "{key} is not there: {make_key}",
    ),
    (
        r"incorrect passphrase supplied",
        "key",
        "{key} needs a passphrase, which nobody is there to type: ssh-keygen -p -N '' -f {key}",
    ),
    (
        r"Load key .*: (?P<why>.*)",
        "key",
        "{key} cannot be used ({why}): it must be readable for the service's user; {make_key}",
    ),
    (
        r"Permission denied \(|Too many authentication failures",
        "refused-key",
        "the server does not let {user} in with {key}: append {public_key} to that user's"
        " ~/.ssh/authorized_keys there (ssh-copy-id -i {public_key} -p {port} {user}@{host})",
    ),
    (
        r"Could not resolve hostname",
        "connection",
        "no address is known for {host}: is the network up, is delivery.push.host right?",
    ),
    (
        r"Connection refused",
        "connection",
        "nothing listens on port {port} of {host}: start its ssh server, or correct"
        " delivery.push.port",
    ),
    (
        r"No route to host|Network is unreachable",
        "connection",
        "there is no way to {host}: is the network up, is the server on?",
    ),
    (
        r"no answer within|timed out",
        "connection",
        "the server does not answer ({said}): is it on, does something between block port {port}?",
    ),
    (
        r"subsystem request failed|Received message too long",
        "other",
        "the server has no sftp for {user} ({said}): enable its sftp subsystem, and let that"
        " user's shell print nothing at the start",
    ),
    (
        r"dest open .*: Permission denied|remote open .*: Permission denied",
        "write",
        "{user} may not write there: give that user the folder, or correct delivery.push.folder",
    ),
    (
        r"write remote|dest open|close remote|fsync|remote (fsetstat|setstat)",
        "write",
        "the server could not write the file ({said}): is its disk full or read-only, is there a"
        " quota?",
    ),
    (
        r"remote rename",
        "name",
        "the server could not give the file its name ({said}): does one of that name exist?",
    ),
    (
        r"(stat remote|realpath|Couldn't canonicalize|Can't change directory).*",
        "folder",
        "the folder is not there ({said}): make it on the server, or mount the disk it is on",
    ),
    (
        # At last, and also when sftp went without a word.
        r"Connection (to \S+ )?(closed|reset)|Broken pipe|client_loop|Lost connection|^$",
        "connection",
        "the connection was cut ({said}): a weak network, or the server was restarted",
    ),
)


def explain(server: PushConfig, said: str) -> PushError:
    """What ssh or sftp said, as an error that says what to do.

    said : lines; the last one that tells something is quoted where nothing better is known.
    """
    words = _words(server) | {"said": _quote(said)}
    for pattern, reason, advice in _KNOWN:
        found = re.search(pattern, said)
        if found is not None:
            words |= {name: text.strip() for name, text in found.groupdict().items()}
            return PushError(reason, f"{place(server)}: {advice.format(**words)}")
    return PushError("other", f"{place(server)}: {words['said']}: try {words['by_hand']}")


def place(server: PushConfig) -> str:
    """user@host:folder."""
    return f"{server.user}@{server.host}:{server.folder}"


def _words(server: PushConfig) -> dict[str, str]:
    """What the advice is filled in with."""
    entry = server.host if server.port == 22 else f"[{server.host}]:{server.port}"
    key, known_hosts = shlex.quote(str(server.key)), shlex.quote(str(server.known_hosts))
    return {
        "host": server.host,
        "port": str(server.port),
        "user": server.user,
        "key": key,
        "public_key": shlex.quote(f"{server.key}.pub"),
        "known_hosts": known_hosts,
        "entry": entry,
        "scan": f"ssh-keyscan -p {server.port} {server.host} >> {known_hosts}",
        "make_key": f"ssh-keygen -t ed25519 -N '' -f {key} makes one",
        "by_hand": f"sftp -P {server.port} -i {key} -o StrictHostKeyChecking=yes"
        f" -o UserKnownHostsFile={known_hosts} {server.user}@{server.host}",
    }


def _quote(said: str) -> str:
    """The line that tells most: the last but for the bare `Connection closed`."""
    lines = [line.strip() for line in said.splitlines() if line.strip(" @\r")]
    telling = [line for line in lines if not re.fullmatch(r"Connection closed\.?", line)]
    return (telling or lines or ["no reason given"])[-1].rstrip(".")
