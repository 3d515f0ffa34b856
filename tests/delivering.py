"""What the tests of delivery share: a camera's configuration, results to deliver, a bad line."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sshd import Sshd

from device.config_service import PushConfig
from device.service.sftp import Patience

QUICK = Patience(connect_s=10.0, answer_s=10.0, slowest_bytes_s=1e6)
"""A server on loopback that has not answered by then does not."""


def push_config(sshd: Sshd, **changes: object) -> PushConfig:
    """The configuration of a camera that knows this server."""
    values = {
        "host": sshd.host,
        "port": sshd.port,
        "user": sshd.user,
        "key": sshd.key,
        "known_hosts": sshd.known_hosts,
        "folder": str(sshd.inbox),
    }
    return PushConfig.model_validate(values | changes)


def write_result(folder: Path, number: int, size: int = 50_000) -> tuple[Path, Path]:
    """The report and the photograph of a restoration, as its files lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    report, photo = folder / f"IMG_{number:06d}.json", folder / f"IMG_{number:06d}.jpg"
    report.write_text(
        json.dumps({"photograph": {"frame_sha256": os.urandom(32).hex()}, "model": None})
    )
    photo.write_bytes(os.urandom(size))
    return report, photo


def names(folder: Path) -> list[str]:
    """What lies in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def wire(sshd: Sshd, at_byte: int, happens: Callable[[], object]) -> Iterator[PushConfig]:
    """A line to the server on which something happens when so many bytes were sent on it."""

    def carry(source: socket.socket, sink: socket.socket, watched: bool) -> None:
        carried = 0
        with suppress(OSError):
            while data := source.recv(16384):
                if watched and carried < at_byte <= carried + len(data):
                    happens()
                carried += len(data)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):  # the listener is shut down
            near, _ = listener.accept()
            with near, socket.create_connection((sshd.host, sshd.port)) as far:
                back = threading.Thread(target=carry, args=(far, near, False))
                back.start()
                carry(near, far, True)
                back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        known_hosts = sshd.folder / "known_hosts_of_the_wire"
        known_hosts.write_text(sshd.known_hosts.read_text().replace(f":{sshd.port} ", f":{port} "))
        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield push_config(sshd, port=port, known_hosts=known_hosts)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()
