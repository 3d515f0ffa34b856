from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.service.notify import Notifier


class Systemd:
    """The end of the protocol that systemd holds: a real datagram socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5.0)
        self.name = address.replace("\0", "@")

    def heard(self) -> str:
        return self.socket.recv(4096).decode()


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    address = str(tmp_path / "notify")
    if request.param == "abstract":
        address = f"\0stillpi-test-{os.getpid()}"
    systemd = Systemd(address)
    with systemd.socket:
        yield systemd


def test_what_systemd_hears(systemd: Systemd) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.name})
    notifier.ready()
    notifier.status("12 photographs,\n3 waiting")
    notifier.watchdog()
    notifier.stopping()
    heard = [systemd.heard() for _ in range(4)]
    assert heard == ["READY=1", "STATUS=12 photographs, 3 waiting", "WATCHDOG=1", "STOPPING=1"]


def test_a_status_is_one_datagram_of_bounded_length(systemd: Systemd) -> None:
    Notifier({"NOTIFY_SOCKET": systemd.name}).status("ä" * 10_000)
    assert systemd.heard() == "STATUS=" + "ä" * 200


def test_without_systemd_nothing_happens() -> None:
    notifier = Notifier({})
    notifier.ready()
    assert notifier.watchdog_s is None


def test_a_socket_that_is_gone_is_told_once_and_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = tmp_path / "notify"
    notifier = Notifier({"NOTIFY_SOCKET": str(address)})
    with caplog.at_level(logging.WARNING):
        notifier.ready()
        notifier.watchdog()
    assert [record.message for record in caplog.records] == [
        "systemd's notify socket takes nothing: [Errno 2] No such file or directory"
    ]
    systemd = Systemd(str(address))
    with systemd.socket:
        notifier.watchdog()
        assert systemd.heard() == "WATCHDOG=1"


def test_a_systemd_that_does_not_listen_never_blocks(systemd: Systemd) -> None:
    """Its queue runs full: datagrams are dropped, the work goes on."""
    notifier = Notifier({"NOTIFY_SOCKET": systemd.name})
    for _ in range(10_000):
        notifier.watchdog()
    assert systemd.heard() == "WATCHDOG=1"


@pytest.mark.parametrize(
    ("environment", "expected_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_how_often_the_watchdog_wants_to_hear(
    environment: dict[str, str], expected_s: float | None
) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", **environment}).watchdog_s == expected_s
