"""Photographs and reports on disk: their EXIF, their pixels, and that they are whole or absent."""

from __future__ import annotations

import dataclasses
import io
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from device.bundle import Bundle
from device.calibration import CameraCalibration
from device.capture.timing import FrameTiming
from device.errors import InputError
from device.output import write_atomic, write_photo, write_report
from device.version import software_name
from firmware_bridge.samples import ImuSamples

Tag = ExifTags.Base
WIDTH, HEIGHT = 96, 64
SUFFIXES = (".jpg", ".png")


def photo_pixels(channels: int = 3) -> NDArray[np.uint8]:
    """A smooth colourful picture, so that JPEG's own losses stay small."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    planes = [255 * u / WIDTH, 255 * v / HEIGHT, 128 + 100 * np.sin(u / 20)]
    pixels = np.stack(planes, axis=-1).astype(np.uint8)
    return pixels if channels == 3 else pixels[..., 0].copy()


def camera_exif() -> Image.Exif:
    """What a phone writes: with a maker note, a GPS position and some broken values."""
    exif = Image.Exif()
    exif[Tag.Make], exif[Tag.Model] = "Some Maker", "Some Model"
    exif[Tag.Software], exif[Tag.Orientation] = "phone 1.0", 6
    exif[Tag.DateTime] = "2024:05:06 07:08:09"
    photo = exif.get_ifd(ExifTags.IFD.Exif)
    photo[Tag.DateTimeOriginal] = "2024:05:06 07:08:09"
    photo[Tag.ISOSpeedRatings] = 400
    photo[Tag.FNumber] = IFDRational(28, 10)
    photo[Tag.ExposureIndex] = IFDRational(0, 0)
    photo[Tag.MakerNote] = b"private offsets"
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[1], gps[2] = "N", (IFDRational(48), IFDRational(8), IFDRational(15))
    return exif


def make_bundle(folder: Path, *, exif: bytes | None = None, icc: bytes | None = None) -> Bundle:
    frame_file = folder / "frame.jpg"
    Image.fromarray(photo_pixels()).save(frame_file, exif=exif or b"", icc_profile=icc)
    return Bundle(
        path=folder,
        frame_file=frame_file,
        width=WIDTH,
        height=HEIGHT,
        timing=FrameTiming(10**9, 66_666_667, 28571, "top_down", HEIGHT),
        tone="srgb",
        orientation=8,
        sensor_model="imx477",
        analogue_gain=8.0,
        noise=None,
        depth_m=None,
        calibration=CameraCalibration(
            100.0, 100.0, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT, "none", (), np.eye(4)
        ),
        samples=ImuSamples.empty(),
        metadata={},
        warnings=(),
        extra={},
    )


def read_exif(path: Path) -> tuple[dict[int, object], dict[int, object], dict[int, object]]:
    with Image.open(path) as image:
        exif = image.getexif()
        photo = dict(exif.get_ifd(ExifTags.IFD.Exif))
        return dict(exif), photo, dict(exif.get_ifd(ExifTags.IFD.GPSInfo))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_original_exif_is_kept_and_completed(tmp_path: Path, suffix: str) -> None:
    bundle = make_bundle(tmp_path, exif=camera_exif().tobytes())
    target = tmp_path / f"restored{suffix}"
    write_photo(target, photo_pixels(), exif_source=bundle)
    main, photo, gps = read_exif(target)
    assert (main[Tag.Make], main[Tag.Model]) == ("Some Maker", "Some Model")
    assert main[Tag.Software] == software_name()
    assert main[Tag.Orientation] == bundle.orientation
    assert main[Tag.DateTime] == photo[Tag.DateTimeOriginal] == "2024:05:06 07:08:09"
    assert float(photo[Tag.ExposureTime]) == pytest.approx(0.066666667, rel=1e-5)  # type: ignore[arg-type]
    assert photo[Tag.ISOSpeedRatings] == 400
    assert float(photo[Tag.FNumber]) == pytest.approx(2.8)  # type: ignore[arg-type]
    assert (photo[Tag.ExifImageWidth], photo[Tag.ExifImageHeight]) == (WIDTH, HEIGHT)
    assert Tag.MakerNote not in photo
    assert gps[2] == (48.0, 8.0, 15.0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_bare_photograph_gets_what_the_bundle_knows(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"restored{suffix}"
    write_photo(target, photo_pixels(), exif_source=make_bundle(tmp_path))
    main, photo, gps = read_exif(target)
    assert (main[Tag.Make], main[Tag.Model]) == ("Raspberry Pi", "imx477")
    assert photo[Tag.ISOSpeedRatings] == 800
    assert photo[Tag.FocalLengthIn35mmFilm] == 38  # 43.27 mm * 100 px / 115.4 px
    assert photo[Tag.ColorSpace] == 1
    assert not {Tag.DateTime, Tag.DateTimeOriginal} & {*main, *photo}, "a date was invented"
    assert gps == {}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_pixels_are_stored_in_their_order(tmp_path: Path, suffix: str, channels: int) -> None:
    pixels = photo_pixels(channels)
    before = pixels.copy()
    target = tmp_path / f"restored{suffix}"
    write_photo(target, pixels, exif_source=make_bundle(tmp_path))
    np.testing.assert_array_equal(pixels, before)
    with Image.open(target) as image:
        stored = np.asarray(image)
        if suffix == ".png":
            np.testing.assert_array_equal(stored, pixels)
        else:
            assert np.abs(stored.astype(int) - pixels).max() <= 6
        if suffix == ".jpg" and channels == 3:
            assert {layer[1:3] for layer in image.layer} == {(1, 1)}, "chroma is not full size"  # type: ignore[attr-defined]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_colour_profile_is_kept(tmp_path: Path, suffix: str) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    target = tmp_path / f"restored{suffix}"
    write_photo(target, photo_pixels(), exif_source=make_bundle(tmp_path, icc=icc))
    with Image.open(target) as image:
        assert image.info["icc_profile"] == icc


def test_a_profile_longer_than_a_segment_is_split(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    icc = profile + bytes(150_000)
    target = tmp_path / "restored.jpg"
    write_photo(target, photo_pixels(), exif_source=make_bundle(tmp_path, icc=icc))
    with Image.open(target) as image:
        assert image.info["icc_profile"] == icc


def test_the_thumbnail_of_the_blurred_photograph_is_gone(tmp_path: Path) -> None:
    block = bytearray(camera_exif().tobytes())
    thumbnail = io.BytesIO()
    Image.new("RGB", (16, 16)).save(thumbnail, "JPEG")
    # Append IFD1 with a JPEG thumbnail, and link it from the end of IFD0.
    order = ">" if block[6:8] == b"MM" else "<"
    ifd0 = 6 + struct.unpack_from(order + "I", block, 10)[0]
    entries = struct.unpack_from(order + "H", block, ifd0)[0]
    ifd1 = len(block) - 6
    struct.pack_into(order + "I", block, ifd0 + 2 + 12 * entries, ifd1)
    data = thumbnail.getvalue()
    start = ifd1 + 2 + 2 * 12 + 4
    block += struct.pack(order + "H", 2)
    block += struct.pack(order + "HHII", 513, 4, 1, start)
    block += struct.pack(order + "HHII", 514, 4, 1, len(data))
    block += struct.pack(order + "I", 0) + data
    bundle = make_bundle(tmp_path, exif=bytes(block))
    with Image.open(bundle.frame_file) as image:
        assert image.getexif().get_ifd(ExifTags.IFD.IFD1), "the test's own thumbnail is unreadable"
    write_photo(tmp_path / "restored.jpg", photo_pixels(), exif_source=bundle)
    with Image.open(tmp_path / "restored.jpg") as image:
        assert not image.getexif().get_ifd(ExifTags.IFD.IFD1)
    assert data not in (tmp_path / "restored.jpg").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        b"Exif\0\0not a TIFF header",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x05\0" + b"\x0f\x01\x02\0\xff\xff\xff\xff\xff\xff\xff\xff",
    ],
)
def test_damaged_exif_costs_the_damaged_tags_only(tmp_path: Path, damage: bytes) -> None:
    target = tmp_path / "restored.jpg"
    write_photo(target, photo_pixels(), exif_source=make_bundle(tmp_path, exif=damage))
    main, photo, _ = read_exif(target)
    assert main[Tag.Software] == software_name()
    assert float(photo[Tag.ExposureTime]) == pytest.approx(0.066666667, rel=1e-5)  # type: ignore[arg-type]


def test_exif_too_long_for_a_segment_is_left_out(tmp_path: Path) -> None:
    exif = camera_exif()
    exif.get_ifd(ExifTags.IFD.Exif)[Tag.UserComment] = bytes(65_100)
    target = tmp_path / "restored.jpg"
    write_photo(target, photo_pixels(), exif_source=make_bundle(tmp_path, exif=exif.tobytes()))
    main, photo, _ = read_exif(target)
    assert main[Tag.Software] == software_name()
    assert Tag.UserComment not in photo


def test_real_exif_of_a_phone_is_kept(tmp_path: Path, shared_data: Path) -> None:
    original = shared_data / "gyro_blur/galaxy_nexus_chart/giro_data_image.jpg"
    bundle = dataclasses.replace(make_bundle(tmp_path), frame_file=original, orientation=1)
    write_photo(tmp_path / "restored.jpg", photo_pixels(), exif_source=bundle)
    main, photo, gps = read_exif(tmp_path / "restored.jpg")
    assert main[Tag.Model] == "Full AOSP on Maguro"
    assert main[Tag.Orientation] == 1
    assert photo[Tag.DateTimeOriginal] == "2000:01:09 19:55:42"
    assert float(photo[Tag.FocalLength]) == pytest.approx(3.43)  # type: ignore[arg-type]
    assert gps[29] == "2000:01:09"


@pytest.mark.parametrize("name", ["restored.tif", "restored", "restored.JPGG"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="suffix"):
        write_photo(tmp_path / name, photo_pixels(), exif_source=make_bundle(tmp_path))
    assert not (tmp_path / name).exists()


def test_a_report_is_readable_json(tmp_path: Path) -> None:
    report = {"format": "stillpi-report", "stages_s": {"filter": 1.5}, "note": "für später"}
    write_report(tmp_path / "report.json", report)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == report
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_full_disk_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "photo.jpg"
    target.write_bytes(b"older")
    program = (
        "import resource, sys; from pathlib import Path; from device.output import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomic(Path(sys.argv[1]), b'x' * 900, b'y' * 900)\n"
        "except OSError as error: print(error.errno, error.filename)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(target)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["27", str(target)]  # EFBIG
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_is_named_by_the_final_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_atomic(tmp_path / "absent" / "photo.jpg", b"x")
    assert caught.value.filename == str(tmp_path / "absent" / "photo.jpg")


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("firmware_bridge.whole_file.os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "photo.jpg", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_has_the_permissions_the_umask_grants(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"x")
    write_atomic(tmp_path / "ours", b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_writing_twelve_megapixels_costs_one_copy(tmp_path: Path) -> None:
    """Peak memory above the picture itself: one reordered copy and the encoded file."""
    make_bundle(tmp_path)
    program = """
import resource, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from pathlib import Path
from test_output import make_bundle
from device.output import write_photo
folder = Path(sys.argv[1])
bundle = make_bundle(folder)
ramp = np.arange(4056, dtype=np.uint16)[None, :, None] // 16
pixels = np.broadcast_to(ramp, (3040, 4056, 3)).astype(np.uint8, order="C")
write_photo(folder / "restored.jpg", pixels[:64, :96], exif_source=bundle)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_photo(folder / "restored.jpg", pixels, exif_source=bundle)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), here],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 60.0
