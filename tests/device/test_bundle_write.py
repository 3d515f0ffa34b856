"""A bundle is written whole or not at all, and never over another."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from device.bundle import read_bundle, write_bundle
from device.errors import InputError
from firmware_bridge.samples import ImuSamples

Make = Callable[..., Any]

FULL_DISK = """
import resource, signal, sys
from device.bundle import read_bundle, write_bundle
bundle = read_bundle(sys.argv[1])
frame = bundle.read_frame()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    write_bundle(sys.argv[2], frame, bundle.samples, bundle.calibration)
except OSError as error:
    print("refused:", error.strerror)
"""


@pytest.fixture
def parts(make_frame: Make, make_samples: Make, make_calibration: Make) -> tuple[Any, Any, Any]:
    return make_frame(), make_samples(), make_calibration()


def test_nothing_is_left_beside_a_good_bundle(tmp_path: Path, parts: Any) -> None:
    write_bundle(tmp_path / "a.capture", *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["a.capture"]
    names = sorted(path.name for path in (tmp_path / "a.capture").iterdir())
    assert names == ["camera.yaml", "capture.json", "frame.jpg", "imu.gcsv"]


def test_the_umask_decides_who_may_read(tmp_path: Path, parts: Any) -> None:
    before = os.umask(0o027)
    try:
        write_bundle(tmp_path / "a.capture", *parts)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.capture").stat().st_mode) == 0o750


@pytest.mark.parametrize("kind", ["bundle", "empty folder", "file"])
def test_what_exists_is_never_replaced(tmp_path: Path, parts: Any, kind: str) -> None:
    target = tmp_path / "a.capture"
    if kind == "bundle":
        write_bundle(target, *parts)
    elif kind == "empty folder":
        target.mkdir()
    else:
        target.write_text("mine")
    before = target.stat().st_ino
    with pytest.raises(InputError, match="one that exists"):
        write_bundle(target, *parts)
    assert target.stat().st_ino == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.capture"]


@pytest.mark.parametrize("limit", [100, 1000, 5000])
def test_a_full_disk_leaves_nothing(tmp_path: Path, make_bundle: Make, limit: int) -> None:
    # A limit on the size of files is how a test fills a disk without filling one.
    target = tmp_path / "out" / "a.capture"
    command = [sys.executable, "-c", FULL_DISK, make_bundle(), target, str(limit)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    assert "refused: File too large" in done.stdout
    assert list((tmp_path / "out").iterdir()) == []


def test_a_place_that_is_no_folder(tmp_path: Path, parts: Any) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        write_bundle(tmp_path / "file" / "a.capture", *parts)


def test_values_that_would_not_be_read_back_are_not_written(
    tmp_path: Path, make_frame: Make, make_samples: Make, make_calibration: Make
) -> None:
    samples, calibration = make_samples(), make_calibration()
    rates = samples.gyro_rad_s.copy()
    rates[3, 1] = np.nan
    broken = ImuSamples(samples.t_ns, rates, samples.acc_g)
    target = tmp_path / "a.capture"
    attempts: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((make_frame(depth_m=-1.0), samples, calibration), {}, "scene.depth_m"),
        ((make_frame(orientation=9), samples, calibration), {}, "frame.orientation"),
        ((make_frame(analogue_gain=0.0), samples, calibration), {}, "sensor.analogue_gain"),
        ((make_frame(), samples, make_calibration(width=65)), {}, "calibration size"),
        ((make_frame(), broken, calibration), {}, "imu.gcsv"),
        ((make_frame(), samples, calibration), {"frame_format": "bmp"}, "frame_format"),
    ]
    for parts, options, field in attempts:
        with pytest.raises(InputError, match=field):
            write_bundle(target, *parts, **options)
    assert list(tmp_path.iterdir()) == []


def test_sixteen_bits_do_not_fit_a_jpeg(
    tmp_path: Path, make_frame: Make, make_samples: Make, make_calibration: Make
) -> None:
    frame = make_frame(pixels=np.zeros((48, 64, 3), np.uint16))
    with pytest.raises(ValueError, match="write a PNG"):
        write_bundle(tmp_path / "a.capture", frame, make_samples(), make_calibration())
    assert list(tmp_path.iterdir()) == []


def test_jpegs_keep_full_colour_resolution(make_bundle: Make) -> None:
    with Image.open(read_bundle(make_bundle()).frame_file) as picture:
        layers = picture.layer  # type: ignore[attr-defined]
    assert all((horizontal, vertical) == (1, 1) for _, horizontal, vertical, _ in layers)
