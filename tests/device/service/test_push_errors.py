"""What OpenSSH says in words, where a test cannot bring a real one to say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.config_service import PushConfig
from device.service.push_errors import explain, place

SERVER = PushConfig(
    host="nas", user="pi", key=Path("/etc/a key"), known_hosts=Path("/etc/hosts"), folder="in"
)


@pytest.mark.parametrize(
    ("said", "reason", "advice"),
    [
        ("ssh: connect to host nas port 22: No route to host", "connection", "is the server on?"),
        ("ssh: connect to host nas port 22: Network is unreachable", "connection", "network up"),
        ("ssh: connect to host nas port 22: Connection timed out", "connection", "block port 22?"),
        ("ssh: Could not resolve hostname nas: Temporary failure", "connection", "push.host right"),
        ("kex_exchange_identification: Connection closed by remote host", "connection", "cut"),
        ("Couldn't read packet: Connection reset by peer", "connection", "was cut"),
        ("Connection to 192.0.2.1 closed by remote host.", "connection", "was cut"),
        ("ssh_dispatch_run_fatal: Connection to 192.0.2.1 port 22: Broken pipe", "connection", ""),
        ("", "connection", "was cut (no reason given)"),
        ("pi@nas: Permission denied (publickey,password).", "refused-key", "'/etc/a key.pub'"),
        ("Too many authentication failures", "refused-key", "-i '/etc/a key.pub' -p 22"),
        ('Load key "/etc/a key": Permission denied', "key", "readable for the service's user"),
        ('remote open "x": Permission denied', "write", "pi may not write there"),
        ('write remote "x": Failure', "write", "is its disk full or read-only"),
        ("remote fsync: Failure", "write", "is its disk full or read-only"),
        ("Received message too long 1298752370", "other", "let that user's shell print nothing"),
        ("something new\nConnection closed", "connection", "was cut (something new)"),
        ("something new", "other", "something new: try sftp -P 22 -i '/etc/a key' -o"),
    ],
)  # fmt: skip
def test_every_failure_says_what_to_do(said: str, reason: str, advice: str) -> None:
    error = explain(SERVER, said)
    assert error.reason == reason
    assert str(error).startswith(f"{place(SERVER)}: ")
    assert advice in str(error)
    assert "\n" not in str(error)


def test_commands_in_the_advice_name_the_port_as_ssh_does() -> None:
    changed = "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!"
    assert "ssh-keygen -R 'nas' -f /etc/hosts" in str(explain(SERVER, changed))
    other = SERVER.model_copy(update={"port": 2222})
    assert "ssh-keygen -R '[nas]:2222' -f /etc/hosts" in str(explain(other, changed))
    assert "ssh-keyscan -p 2222 nas >> /etc/hosts" in str(explain(other, changed))
