"""The whole service: button to server, while everything around it breaks.

Real: the daemon, the WT901 driver on an emulator's pseudo-terminal, sqlite, sshd, a small disk that
is full, a spool that is read-only. Fake: the camera (the twin), the pins (gpiozero's own) and the
date. `make soak` takes a hundred photographs and restores each; the short version copies instead of
restoring.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory
from mock_pins import mock_pins
from PIL import Image
from service_process import QUICK_RESTORATION
from sshd import Sshd
from waiting import until as until_now

from device.bundle import read_bundle
from device.capture.twin import imu_function
from device.config import load_config
from device.motion.sources import HandShake
from device.service import restorer as restorer_module
from device.service.clock import Clock
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


def until(condition: Callable[[], object], timeout_s: float = 1800.0) -> None:
    """As waiting.until; seldom enough to leave the machine to what is tested."""
    until_now(condition, timeout_s, every_s=0.05)


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
class WrongDate:
    """The date of a machine without a clock battery, until it is known."""

    days_off: float = -10_000.0
    known: bool = False

    def clock(self) -> Clock:
        return Clock(
            wall_ns=lambda: time.time_ns() + round(self.days_off * 86_400e9),
            synchronised=lambda: self.known,
        )


@dataclass
class Camera:
    """The running service with hands on everything around it."""

    socket: Path
    folders: Folders
    pins: MockFactory
    sensor: PtyEmulator
    sshd: Sshd
    date: WrongDate
    expected: int = 0
    without_motion: list[int] = field(default_factory=list)
    with_motion: list[int] = field(default_factory=list)
    recovery_s: dict[str, float] = field(default_factory=dict)

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
            until(lambda: self.status()["photographs"] >= self.expected)
            time.sleep(0.05)
        assert self.status()["photographs"] == self.expected

    def fail_sensor(self, how: str, spoil: Callable[[], None], mend: Callable[[], None]) -> None:
        """Take a photograph while the sensor gives nothing, and one with it when it is back."""
        spoil()
        until(lambda: self.sensor_age_s() > 0.5)
        self.press()
        self.without_motion.append(self.expected)
        mend()
        begin = time.monotonic()
        until(lambda: self.sensor_age_s() < 0.1)
        self.recovery_s[how] = time.monotonic() - begin
        self.press_with_motion()

    def press_with_motion(self) -> None:
        """Take a photograph whose motion is known; a machine that is too busy misses some."""
        for _ in range(10):
            self.press()
            if read_bundle(self.bundle(self.expected)).imu_coverage().covers:
                self.with_motion.append(self.expected)
                return
        pytest.fail("the sensor is back, and no photograph has its motion")

    def bundle(self, number: int) -> Path:
        return self.folders.photos / f"{photo_name(number)}.capture"

    def sensor_age_s(self) -> float:
        """How long nothing has come from the sensor."""
        age_s = self.status()["imu"]["age_s"]
        return float("inf") if age_s is None else float(age_s)

    def wait_until_delivered(self) -> None:
        def is_done() -> bool:
            queue = self.status()["queue"]
            return not any(queue[kind] for kind in ("restore", "spool", "push"))

        until(is_done)


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
        config, date = load_config(path), WrongDate()
        around = surroundings(config, date.clock())
        daemon, codes = Daemon(config, folders_of(config), around), []
        thread = threading.Thread(target=lambda: codes.append(daemon.run()))
        thread.start()
        try:
            camera = Camera(socket, folders_of(config), pins, sensor, sshd, date)
            until(lambda: _is_ready(camera))
            yield camera
        finally:
            daemon.stop()
            thread.join(60)
        assert codes == [EXIT_STOPPED]


def _is_ready(camera: Camera) -> bool:
    with suppress(ControlError):
        return bool(camera.status()["camera"] == "ready")
    return False


def take_while_everything_breaks(
    tmp_path: Path, disk: Disk, each: int, *, restores: bool = False
) -> str:
    """Five times `each` photographs, two for each way a sensor fails, a bracket; the figures.

    restores : they are really restored, so that their reports tell which were not.
    """
    with camera(tmp_path, disk.folder / "state") as it:
        until(lambda: it.status()["imu"]["connected"])
        it.press(each)

        it.sshd.stop()
        it.press(each)
        until(lambda: "push" in it.status()["errors"])
        it.date.days_off += 4000
        it.sshd.start()

        let_the_sensor_fail(it)
        it.date.days_off -= 9000
        it.press(each)

        it.press(each)  # some of these are being restored and delivered when the disk is full
        for number in range(1, it.expected + 1):  # else what has arrived would make room
            ask(it.socket, {"do": "keep", "number": number})
        if disk.no_limit is None:
            refuse_while_full(it, disk.folder)
            with read_only(it.folders.spool):
                it.press(each)
                until(lambda: "spool" in it.status()["errors"])
                error = it.status()["errors"]["spool"]
            assert "Read-only file system: the card may be failing" in error
        it.press(long=True)
        it.date.days_off, it.date.known = 0.0, True
        until(lambda: all_dated(it))
        it.wait_until_delivered()
        status = it.status()
    assert max(it.recovery_s.values()) < RECOVERY_S
    assert (status["photographs"], status["set_aside"]) == (it.expected, 0)
    check_arrived(it)
    if restores:
        check_marks(it)
    back = ", ".join(f"{seconds:.2f} s after {how}" for how, seconds in it.recovery_s.items())
    return f"{it.expected} photographs, all arrived once; sensor back {back}"


def let_the_sensor_fail(it: Camera) -> None:
    """It is unplugged, its line carries garbage, its clock jumps."""
    it.fail_sensor("plugging in", it.sensor.unplug, it.sensor.plug)
    it.fail_sensor(
        "garbage",
        lambda: setattr(it.sensor, "garbage", True),
        lambda: setattr(it.sensor, "garbage", False),
    )
    jumps = it.status()["imu"]["clock_jumps"]
    it.sensor.restart()
    it.press()  # during the jump: it may be restored, or not
    until(lambda: it.status()["imu"]["clock_jumps"] > jumps)
    it.press_with_motion()


def all_dated(it: Camera) -> bool:
    """Whether every report on the server has its true date."""
    reports = list(it.sshd.inbox.glob("*.json"))
    known = [json.loads(path.read_text())["photograph"]["date_known"] for path in reports]
    return len(known) == it.expected and all(known)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let a folder be on a read-only disk for a while."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        forbid = ["mount", "-o", "remount,bind,ro", folder]
        until(lambda: subprocess.run(forbid).returncode == 0)  # not while a file is being written
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


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
    for number in it.without_motion:
        bundle = read_bundle(it.bundle(number))
        assert not bundle.imu_coverage().covers
        assert {warning.name for warning in bundle.warnings} & {"no-imu", "imu-short"}
    check_dates(it)


def check_dates(it: Camera) -> None:
    """Every report tells the day of the test, in the order of the photographs."""
    reports = [
        json.loads((it.folders.spool / f"{photo_name(number)}.json").read_text())["photograph"]
        for number in range(1, it.expected + 1)
    ]
    taken = [datetime.fromisoformat(report["taken"]) for report in reports]
    assert taken == sorted(taken)
    assert datetime.now(UTC) - taken[0] < timedelta(hours=3)
    assert taken[-1] <= datetime.now(UTC)


def check_marks(it: Camera) -> None:
    """Photographs without motion were delivered as taken, and say so; the others are restored."""
    for number in range(1, it.expected + 1):
        for folder in (it.folders.spool, it.sshd.inbox):
            report = json.loads((folder / f"{photo_name(number)}.json").read_text())
            marked = "not-restored" in [warning["name"] for warning in report["warnings"]]
            assert not (number in it.without_motion and not marked), number
            assert not (number in it.with_motion and marked), number


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restorer_module, "DISK_AGAIN_S", 1.0)
    monkeypatch.setattr(restorer_module, "_IDLE_S", 1.0)


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


@pytest.mark.usefixtures("impatient")
def test_a_sensor_that_fails_costs_the_restoration_only(tmp_path: Path) -> None:
    with camera(tmp_path, tmp_path / "state") as it:
        until(lambda: it.status()["imu"]["connected"])
        let_the_sensor_fail(it)
        it.date.days_off, it.date.known = 0.0, True
        until(lambda: all_dated(it))
        it.wait_until_delivered()
    assert max(it.recovery_s.values()) < RECOVERY_S
    check_arrived(it)
    check_marks(it)


@pytest.mark.soak
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["copies", "restorations"])
def test_a_hundred_photographs_arrive(
    tmp_path: Path,
    small_disk: Disk,
    how: str,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    if how == "copies":
        request.getfixturevalue("copies")
    figures = take_while_everything_breaks(
        tmp_path, small_disk, each=20, restores=how == "restorations"
    )
    record_property("figures", figures)
