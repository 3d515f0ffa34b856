"""Our adapter on the real picamera2 and libcamera, with libcamera's virtual camera as the sensor.

It proves that the real interface is called rightly; the virtual camera says nothing of timing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device.bundle import read_bundle

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = Path(
    os.environ.get("STILLPI_VIRTUAL_CAMERA") or Path.home() / ".cache/stillpi/virtual-camera"
)

# libcamera 0.4's virtual camera leaves the status of its frames unset: it is what malloc gave.
# Zero means success; otherwise picamera2 drops every frame, in some processes and not in others.
ZEROED_MEMORY = "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0"


def entrance() -> list[str]:
    """The command that runs another inside the folder."""
    chroot = [shutil.which("chroot", path="/usr/sbin:/sbin:/usr/bin") or "chroot", str(FOLDER)]
    if os.geteuid() == 0:
        return chroot
    become_root = ["unshare", "--map-root-user"]
    if subprocess.run([*become_root, "true"], capture_output=True, check=False).returncode:
        pytest.skip("entering the folder needs root or user namespaces")
    return [*become_root, *chroot]


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder within the unpacked system that holds our packages and the driver."""
    if not (FOLDER / "ready").is_file():
        pytest.skip(f"no virtual camera in {FOLDER}: run {Path(__file__).with_name('set_up.py')}")
    folder = Path(tempfile.mkdtemp(prefix="stillpi-", dir=FOLDER / "tmp"))
    try:
        for package in ("device", "firmware_bridge"):
            ignored = shutil.ignore_patterns("__pycache__", "demo_data", "models")
            shutil.copytree(REPOSITORY / package, folder / package, ignore=ignored)
        shutil.copy(Path(__file__).with_name("drive.py"), folder)
        yield folder
    finally:
        shutil.rmtree(folder)


def drive(inside: Path, scenario: str) -> dict[str, Any]:
    """Run a scenario of drive.py; what it found."""
    at = f"/tmp/{inside.name}"
    done = subprocess.run(
        [*entrance(), "/usr/bin/python3.13", f"{at}/drive.py", scenario, at],
        env={
            "PYTHONPATH": f"{at}:/site:/stubs",
            "LIBCAMERA_LOG_LEVELS": "*:FATAL",
            "GLIBC_TUNABLES": ZEROED_MEMORY,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**result, "bundle": inside / "a.capture"}


@pytest.fixture(scope="module")
def driven(inside: Path) -> dict[str, Any]:
    """The scenario that takes photographs."""
    return drive(inside, "shots")


def test_what_a_machine_lacks_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    """As continuous integration meets it: no apt, or none that may be used."""
    command = [sys.executable, str(Path(__file__).with_name("set_up.py")), str(tmp_path / "camera")]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("virtual camera not set up, its tests are skipped: ")
    assert list(tmp_path.iterdir()) == []


def test_every_frame_is_fresh_and_its_own(driven: dict[str, Any]) -> None:
    shots = driven["shots"]
    assert all(shot["fresh"] and shot["past"] for shot in shots)
    assert len({shot["timestamp"] for shot in shots}) == len(shots) > driven["buffers"]


def test_one_configuration_that_keeps_no_old_frame(driven: dict[str, Any]) -> None:
    assert driven["configurations"] == 1
    assert driven["queue_length"] == 0


def test_every_request_goes_back(driven: dict[str, Any]) -> None:
    assert driven["held"] == 0


def test_the_colour_bars_are_in_the_order_of_red_green_blue(driven: dict[str, Any]) -> None:
    assert driven["shape"] == [720, 1280, 3]
    bars = [[value > 100 for value in column] for column in driven["columns"]]
    assert len(bars) == 8
    assert bars[0] == [True, True, True]
    assert [False, True, False] in bars
    assert len({tuple(bar) for bar in bars}) >= 7


def test_metadata_comes_verbatim_into_the_bundle(driven: dict[str, Any]) -> None:
    bundle = read_bundle(driven["bundle"])
    assert sorted(bundle.metadata) == driven["metadata"]
    assert bundle.sensor_model == "imx477"
    assert bundle.read_pixels().shape == (720, 1280, 3)
    assert [warning.name for warning in bundle.warnings] == [
        "not-locked",
        "nominal-calibration",
        "no-imu",
    ]


def test_what_cannot_be_had_is_refused_in_words(driven: dict[str, Any]) -> None:
    assert driven["wrong_size"] == "the camera gives 1280x720 instead of 640x480"
    assert driven["no_camera"] == "no camera number 3: libcamera finds imx477"


def test_a_camera_that_does_not_tell_its_exposure(inside: Path) -> None:
    assert drive(inside, "as_it_is")["refusal"] == (
        "the camera's metadata has no ExposureTime: the frame cannot be timed"
    )


def test_a_rotation_that_is_granted(inside: Path) -> None:
    assert drive(inside, "rotated")["shape"] == [720, 1280, 3]
