"""The whole service: button to server, while everything around it breaks.

Real: the daemon, the WT901 driver on an emulator's pseudo-terminal, sqlite, sshd, a small disk that
is full. Fake: the camera (the twin) and the pins (gpiozero's own). `make soak` takes a hundred
photographs and restores each; the short version copies instead of restoring.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory
from mock_pins import mock_pins
from PIL import Image
from service_process import QUICK_RESTORATION
from sshd import Sshd
from waiting import until

from device.bundle import read_bundle
from device.capture.twin import imu_function
from device.config import load_config
from device.motion.sources import HandShake
from device.service import restorer as restorer_module
from device.service.control import ControlError, ask
from device.service.daemon import EXIT_STOPPED, Daemon
from device.service.identity import sha256_of
from device.service.names import Folders, photo_name
from device.service.surroundings import folders_of, surroundings
from firmware_bridge.emulator import PtyEmulator, Wt901Emulator
from firmware_bridge.provision import ProvisionPlan

SHUTTER, LIGHT = 17, 27
DISK_MB = 32
RECOVERY_S = 2.0


@dataclass(frozen=True)
class Disk:
    """A folder; no_limit : why it is not a small disk of its own that can be filled."""

    folder: Path
    no_limit: str | None = None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "stillpi-test", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        yield Disk(folder, "there is no mount here")
        return
    if done.returncode != 0:
        yield Disk(folder, f"a small disk cannot be mounted: {done.stderr.strip()}")
        return
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@dataclass
class Camera:
    """The running service with hands on everything around it."""

    socket: Path
    folders: Folders
    pins: MockFactory
    sensor: PtyEmulator
    sshd: Sshd
    expected: int = 0
    unplugged: list[int] = field(default_factory=list)

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = ask(self.socket, {"do": "status"})["status"]
        return status

    def press(self, count: int = 1, *, long: bool = False) -> None:
        """Press the button and wait until the photographs are safe."""
        pin = self.pins.pin(SHUTTER)
        for _ in range(count):
            self.expected += 3 if long else 1
            pin.drive_low()
            time.sleep(0.6 if long else 0.1)
            pin.drive_high()
            until(lambda: self.status()["photographs"] >= self.expected, 60)
            time.sleep(0.05)
        assert self.status()["photographs"] == self.expected

    def wait_until_delivered(self) -> None:
        def is_done() -> bool:
            queue = self.status()["queue"]
            return not any(queue[kind] for kind in ("restore", "spool", "push"))

        until(is_done, 900)


@contextmanager
def camera(tmp_path: Path, state: Path) -> Iterator[Camera]:
    plan, source = ProvisionPlan(), HandShake(0, rate_rms_deg_s=5.0)
    emulator = Wt901Emulator(imu_function(source), registers=plan.settings)
    link = tmp_path / "imu"
    with (
        mock_pins() as pins,
        Sshd(tmp_path / "server") as sshd,
        PtyEmulator(emulator, link=link) as sensor,
    ):
        push = {
            "host": sshd.host, "port": sshd.port, "user": sshd.user, "key": str(sshd.key),
            "known_hosts": str(sshd.known_hosts), "folder": str(sshd.inbox),
        }  # fmt: skip
        socket = tmp_path / "c.sock"
        sections = {
            "camera": {"kind": "twin", "size": [96, 64], "exposure_s": 0.01},
            "imu": {"kind": "serial", "port": str(link), "baud": plan.baud.bits_per_s},
            "restoration": {"model": "none", "threads": 1},
            "shutter": {"kind": "gpio", "pin": SHUTTER, "long_press_s": 0.4},
            "led": {"kind": "gpio", "pin": LIGHT},
            "delivery": {"push": push},
            "retention": {"free_mb": 1, "floor_mb": 1},
            "service": {"state": str(state), "socket": str(socket)},
        }
        path = tmp_path / "stillpi.yaml"
        path.write_text(json.dumps(sections))
        config = load_config(path)
        daemon, codes = Daemon(config, folders_of(config), surroundings(config)), []
        thread = threading.Thread(target=lambda: codes.append(daemon.run()))
        thread.start()
        try:
            camera = Camera(socket, folders_of(config), pins, sensor, sshd)
            until(lambda: _is_ready(camera), 60)
            yield camera
        finally:
            daemon.stop()
            thread.join(60)
        assert codes == [EXIT_STOPPED]


def _is_ready(camera: Camera) -> bool:
    with suppress(ControlError):
        return bool(camera.status()["camera"] == "ready")
    return False


def take_while_everything_breaks(tmp_path: Path, disk: Disk, each: int) -> str:
    """Five times `each` photographs and a bracket; one line of figures."""
    with camera(tmp_path, disk.folder / "state") as it:
        until(lambda: it.status()["imu"]["connected"])
        it.press(each)

        it.sshd.stop()
        it.press(each)
        until(lambda: "push" in it.status()["errors"], 120)
        it.sshd.start()

        it.sensor.unplug()
        first = it.expected + 1
        it.press(each)
        it.unplugged = list(range(first, it.expected + 1))
        it.sensor.plug()
        begin = time.monotonic()
        until(lambda: it.status()["imu"]["connected"] and it.status()["imu"]["age_s"] < 0.5)
        recovery_s = time.monotonic() - begin

        it.press(each)  # some of these are being restored and delivered when the disk is full
        for number in range(1, it.expected + 1):  # else what has arrived would make room
            ask(it.socket, {"do": "keep", "number": number})
        if disk.no_limit is None:
            refuse_while_full(it, disk.folder)
        it.press(each)
        it.press(long=True)
        it.wait_until_delivered()
        status = it.status()
    assert recovery_s < RECOVERY_S
    assert (status["photographs"], status["set_aside"]) == (it.expected, 0)
    check_arrived(it)
    return f"{it.expected} photographs, all arrived once; sensor back after {recovery_s:.2f} s"


def refuse_while_full(it: Camera, disk: Path) -> None:
    fill(disk)
    with pytest.raises(ControlError, match="MB are free"):
        ask(it.socket, {"do": "trigger"})
    light = it.pins.pin(LIGHT)
    until(lambda: it.status()["refuses"] is not None)
    seen = {light.state for _ in range(40) if not time.sleep(0.05)}
    assert seen == {True, False}  # it flashes
    (disk / "filler").unlink()


def fill(disk: Path) -> None:
    """Take all the room there is."""
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(disk).free < 1_000_000


def check_arrived(it: Camera) -> None:
    """Every photograph is in the spool and on the server, whole, under its one name."""
    names = {photo_name(number) for number in range(1, it.expected + 1)}
    digests = set()
    for folder in (it.folders.spool, it.sshd.inbox):
        assert {path.name for path in folder.iterdir()} == {
            f"{name}.{suffix}" for name in names for suffix in ("jpg", "json")
        }
        for name in names:
            with Image.open(folder / f"{name}.jpg") as image:
                image.load()
            report = json.loads((folder / f"{name}.json").read_text())["photograph"]
            frame = read_bundle(it.folders.photos / f"{name}.capture").frame_file
            assert report["frame_sha256"] == sha256_of(frame)
            digests.add(report["frame_sha256"])
    assert len(digests) == it.expected
    for number in it.unplugged[1:]:  # the first still has samples from before
        warnings = read_bundle(it.folders.photos / f"{photo_name(number)}.capture").warnings
        assert {warning.name for warning in warnings} & {"no-imu", "imu-short", "imu-gap"}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restorer_module, "DISK_AGAIN_S", 1.0)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = restorer_module.Restorer.__init__.__kwdefaults__
    quick = {**defaults, "child": (sys.executable, "-c", QUICK_RESTORATION)}
    monkeypatch.setattr(restorer_module.Restorer.__init__, "__kwdefaults__", quick)


@pytest.mark.usefixtures("impatient", "copies")
def test_nothing_is_lost_while_everything_breaks(tmp_path: Path, small_disk: Disk) -> None:
    take_while_everything_breaks(tmp_path, small_disk, each=2)
    if small_disk.no_limit is not None:
        pytest.skip(f"all but the full disk was tried: {small_disk.no_limit}")


@pytest.mark.soak
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["copies", "restorations"])
def test_a_hundred_photographs_arrive(
    tmp_path: Path, small_disk: Disk, how: str, request: pytest.FixtureRequest
) -> None:
    if how == "copies":
        request.getfixturevalue("copies")
    figures = take_while_everything_breaks(tmp_path, small_disk, each=20)
    with request.getfixturevalue("capsys").disabled():
        print(f"\n{how}: {figures}")
