"""Recordings with something wrong: one line that names file, place, found and expected."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from device.bundle import read_bundle
from device.errors import InputError
from device.importers.deepgyro import import_deepgyro
from device.importers.nexus import import_nexus
from device.importers.phone_video import import_phone_video

Importer = Callable[[Path, Path], list[Path]]


def picture(path: Path, size: tuple[int, int], exif: Image.Exif | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.linspace(0, 255, size[1]).astype(np.uint8)
    pixels = np.repeat(np.repeat(rows[:, None, None], size[0], axis=1), 3, axis=2)
    Image.fromarray(pixels).save(path, exif=exif or Image.Exif())


@pytest.fixture
def deepgyro(tmp_path: Path) -> Path:
    source = tmp_path / "deepgyro"
    (source / "imu").mkdir(parents=True)
    for number in (1, 2):
        picture(source / "images" / f"{number:04d}.jpg", (1920, 1080))
    (source / "images" / "images.txt").write_text("1000000000 20000000\n1033000000 20000000\n")
    rows = []
    for step in range(60):
        t_ns = 1_000_000_000 + (step - 30) * 10_000_000
        rows += [f"2 {t_ns + 7} 1 2 3", f"1 {t_ns} 0 9.80665 0", f"4 {t_ns} 0.1 {step} 0.3"]
    rows[0], rows[-1] = rows[-1], rows[0]
    (source / "imu" / "imu.txt").write_text("\n".join(rows))
    calibration = {
        "comment": "kept",
        "camera_matrix_at_1920x1080": [[1500, 0, 960], [0, 1500, 540], [0, 0, 1]],
        "rotation_imu_to_camera": [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
        "readout_time_s": 0.0244944,
        "imu_camera_offset_s_after_rezeroing_both_streams": 0.02,
    }
    (source / "calibration.json").write_text(json.dumps(calibration))
    return source


@pytest.fixture
def nexus(tmp_path: Path) -> Path:
    source = tmp_path / "nexus"
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 0.06, ExifTags.Base.FocalLength: 3.43}
    picture(source / "giro_data_image.jpg", (128, 96), exif)
    rows = [f"{10_000_000 * step} 0.1 {step / 100} 0.3" for step in range(80)]
    trailer = ["", "capture timestamp 600000000", f"user press timestamp = {2**64 - 5}"]
    (source / "giro_data.txt").write_text("\n".join(["80", "600000000", *rows, *trailer]))
    return source


@pytest.fixture
def video(tmp_path: Path) -> Path:
    source = tmp_path / "video"
    for number in (3, 4):
        picture(source / "frames" / f"RE_frame-{number}.jpg", (80, 60))
    lines = []
    for frame in range(1, 8):
        sof_us = 1_000_000 + 33_000 * frame
        lines += [f"SOF  {sof_us},  frameNum :{frame} exp time 0.005248"] * 2
        for step in range(15):
            t_us = sof_us + 2200 * step
            lines.append(f"frameid:{frame} gyro:{step} x 0.1 y {t_us % 97} z 0.3 ts {t_us}")
    (source / "gyro_dump.txt").write_text("\n".join(lines))
    return source


def refused(importer: Importer, source: Path, tmp_path: Path) -> InputError:
    target = tmp_path / "out"
    with pytest.raises(InputError) as caught:
        importer(source, target)
    assert "\n" not in str(caught.value)
    assert not target.exists() or list(target.iterdir()) == []
    return caught.value


def test_small_recordings_are_imported(
    deepgyro: Path, nexus: Path, video: Path, tmp_path: Path
) -> None:
    burst = [read_bundle(path) for path in import_deepgyro(deepgyro, tmp_path / "d")]
    # In gyroscope time the first exposure starts 20 ms, the second one -13 ms before the log.
    assert burst[0].samples.gyro_rad_s[:, 1].tolist() == [0, *range(60)]
    assert burst[1].samples.gyro_rad_s[:, 1].tolist() == list(range(60))
    assert burst[1].samples.acc_g[5].tolist() == [0.0, 1.0, 0.0]
    assert [len(bundle.warnings) for bundle in burst] == [1, 0]
    (chart,) = import_nexus(nexus, tmp_path / "n")
    assert chart.name == "chart.capture"
    assert read_bundle(chart).metadata["UserPressTimestamp"] == -5
    frames = import_phone_video(video, tmp_path / "v")
    assert [path.name for path in frames] == ["frame-0003.capture", "frame-0004.capture"]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "field"),
    [
        ("imu/imu.txt", "4 710000000 0.1", "4 710000000 nan", "line 6"),
        ("imu/imu.txt", "4 710000000 0.1 1 0.3", "4 710000000 0.1 1", "line 6"),
        ("imu/imu.txt", "4 710000000", "4 7e8", "line 6"),
        ("imu/imu.txt", "4 710000000", "4 720000000", "sample at 720000000 ns"),
        ("images/images.txt", "1033000000 20000000\n", "", "lines"),
        ("images/images.txt", "1033000000 20000000", "1033000000", "line 2"),
        ("images/images.txt", "1000000000 20000000", "1000000000 -5", "exposure_ns"),
        ("calibration.json", '"comment"', "comment", "line 1"),
        ("calibration.json", "0.0244944", "-1", "readout_time_s"),
        ("calibration.json", "0.0244944", "NaN", "readout_time_s"),
        ("calibration.json", '"readout_time_s"', '"other"', "readout_time_s"),
        ("calibration.json", "[[1500, 0", "[[0, 0", "intrinsics"),
        ("calibration.json", "[[0, 1, 0], [1, 0, 0]", "[[1, 0, 0], [0, 1, 0]", "rotation_imu"),
    ],
)
def test_deepgyro(
    deepgyro: Path, tmp_path: Path, file: str, old: str, new: str, field: str
) -> None:
    edit(deepgyro / file, old, new)
    assert field in refused(import_deepgyro, deepgyro, tmp_path).field


def test_deepgyro_pictures(deepgyro: Path, tmp_path: Path) -> None:
    second = deepgyro / "images" / "0002.jpg"
    whole = second.read_bytes()
    second.write_bytes(whole[: len(whole) // 2])
    assert "truncated" in str(refused(import_deepgyro, deepgyro, tmp_path))
    picture(second, (960, 540))
    assert refused(import_deepgyro, deepgyro, tmp_path).found == "960x540"
    for path in deepgyro.glob("images/*.jpg"):
        path.unlink()
    assert refused(import_deepgyro, deepgyro, tmp_path).field == "lines"


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("80\n", "81\n", "samples"),
        ("80\n", "many\n", "line 1"),
        ("10000000 0.1 0.01 0.3", "10000000 0.1 0.01", "line 4"),
        ("10000000 0.1 0.01 0.3", "10000000 0.1 inf 0.3", "line 4"),
        ("10000000 0.1 0.01 0.3", "20000000 0.1 0.01 0.3", "sample at 20000000 ns"),
        (str(2**64 - 5), "-5", "line 85"),
    ],
)
def test_nexus(nexus: Path, tmp_path: Path, old: str, new: str, field: str) -> None:
    edit(nexus / "giro_data.txt", old, new)
    assert refused(import_nexus, nexus, tmp_path).field == field


def test_nexus_picture_without_its_exposure(nexus: Path, tmp_path: Path) -> None:
    picture(nexus / "giro_data_image.jpg", (128, 96))
    assert refused(import_nexus, nexus, tmp_path).field == "EXIF ExposureTime"
    (nexus / "giro_data.txt").write_text("")
    assert refused(import_nexus, nexus, tmp_path).file.endswith("giro_data.txt")


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("frameNum :3 exp time 0.005248\nSOF", "frameNum :3 exp time 0.006\nSOF", "line 36"),
        ("exp time 0.005248", "exp time 0", "line 1"),
        ("exp time 0.005248", "exp time soon", "line 1"),
        ("gyro:2 x 0.1", "gyro:2 x nan", "line 5"),
        ("gyro:2 x 0.1", "gyro:2 x", "line 5"),
        ("x 0.1 y", "x 9.1 y", "sample"),
    ],
)
def test_phone_video(video: Path, tmp_path: Path, old: str, new: str, field: str) -> None:
    if field == "sample":  # the first sample again, with another rate
        with (video / "gyro_dump.txt").open("a") as file:
            file.write("\nframeid:9 gyro:0 x 7 y 7 z 7 ts 1033000")
    else:
        edit(video / "gyro_dump.txt", old, new)
    assert refused(import_phone_video, video, tmp_path).field.startswith(field)


def test_phone_video_frames(video: Path, tmp_path: Path) -> None:
    (video / "frames" / "RE_frame-3.jpg").rename(video / "frames" / "RE_frame-300.jpg")
    assert refused(import_phone_video, video, tmp_path).field == "frameNum :300"
    for path in video.glob("frames/*.jpg"):
        path.unlink()
    assert refused(import_phone_video, video, tmp_path).found == "none"


@pytest.mark.parametrize("importer", [import_deepgyro, import_nexus, import_phone_video])
def test_an_empty_folder(importer: Importer, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(importer, tmp_path / "empty", tmp_path)
    refused(importer, tmp_path / "missing", tmp_path)
