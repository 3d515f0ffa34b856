"""What is written into a bundle comes back out of it, and who else can read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from device.bundle import check_bundle, read_bundle
from device.capture.camera import GammaCurve, NoiseModel
from device.capture.timing import FrameTiming
from device.capture_json import Capture, capture_text, read_capture
from device.errors import InputError
from device.notices import Notice
from firmware_bridge.samples import ImuSamples

Make = Callable[..., Any]
JPEG_ERROR = 4  # coded values, of a soft picture at quality 97
TOLERANCE_S = 1e-6


def test_everything_comes_back(make_bundle: Make, make_frame: Make, make_samples: Make) -> None:
    frame, samples = make_frame(), make_samples()
    bundle = read_bundle(make_bundle(frame, samples))
    assert bundle.timing == frame.timing
    assert (bundle.width, bundle.height) == (64, 48)
    assert (bundle.tone, bundle.orientation, bundle.sensor_model) == ("srgb", 6, "imx477")
    assert bundle.noise == NoiseModel(0.002, 0.003)
    assert (bundle.analogue_gain, bundle.depth_m) == (8.0, 2.5)
    assert bundle.metadata == {"SensorTimestamp": 5_000_000_000, "ColourGains": [1.5, 2.0]}
    assert bundle.extra == {}
    np.testing.assert_array_equal(bundle.samples.t_ns, samples.t_ns)
    np.testing.assert_allclose(bundle.samples.gyro_rad_s, samples.gyro_rad_s, atol=1e-15)
    assert bundle.calibration.timeshift_s == 0.001
    assert bundle.read_frame().timing == frame.timing


def test_a_jpeg_keeps_the_pixels_within_its_loss(make_bundle: Make, make_frame: Make) -> None:
    pixels = read_bundle(make_bundle(make_frame())).read_pixels()
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - make_frame().pixels).mean() < JPEG_ERROR


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_png_keeps_every_bit(make_bundle: Make, make_frame: Make, dtype: Any) -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, np.iinfo(dtype).max, (48, 64, 3), dtype=dtype)
    path = make_bundle(make_frame(pixels=pixels), frame_format="png", exif=b"II*\0\x08\0\0\0\0\0")
    read = read_bundle(path).read_pixels()
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, pixels)


def test_a_grey_picture_has_three_equal_channels(make_bundle: Make, make_frame: Make) -> None:
    grey = make_frame().pixels[..., 0]
    read = read_bundle(make_bundle(make_frame(pixels=grey), frame_format="png")).read_pixels()
    np.testing.assert_array_equal(read, np.repeat(grey[..., None], 3, axis=-1))


def test_exif_is_embedded_and_its_orientation_not_applied(make_bundle: Make) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "stillpi"
    bundle = read_bundle(make_bundle(exif=exif.tobytes()))
    with Image.open(bundle.frame_file) as picture:
        assert picture.getexif()[0x0112] == 6
        assert picture.getexif()[0x010F] == "stillpi"
    assert bundle.read_pixels().shape == (48, 64, 3)


def test_a_given_picture_is_kept_byte_for_byte(
    tmp_path: Path, make_bundle: Make, make_frame: Make
) -> None:
    picture = tmp_path / "IMG_1.JPG"
    Image.fromarray(make_frame().pixels).save(picture, "JPEG", quality=60)
    bundle = read_bundle(make_bundle(picture=picture))
    assert bundle.frame_file.name == "frame.jpg"
    assert bundle.frame_file.read_bytes() == picture.read_bytes()


def test_the_sensors_integers_stand_in_the_log(make_bundle: Make, make_samples: Make) -> None:
    lines = (make_bundle() / "imu.gcsv").read_text().splitlines()
    first = lines[lines.index("t,gx,gy,gz,ax,ay,az") + 1].split(",")
    counts = np.rint(make_samples().gyro_rad_s[0] / (np.deg2rad(2000) / 32768)).astype(int)
    assert first[:4] == ["4000000000", *map(str, counts)]


def test_unknown_keys_are_kept_wherever_they_stand(make_bundle: Make) -> None:
    extra = {
        "sensor": {"lens": {"serial": 7}, "model": "never replaces the known"},
        "frame": {"crop": [0, 0, 1, 1]},
    }
    path = make_bundle(extra=extra)
    bundle = read_bundle(path)
    assert bundle.sensor_model == "imx477"
    del extra["sensor"]["model"]  # type: ignore[attr-defined]
    assert bundle.extra == extra
    assert json.loads((path / "capture.json").read_text())["sensor"]["lens"] == {"serial": 7}


def test_warnings_are_read_back_as_they_were_noticed(make_bundle: Make) -> None:
    noticed = [Notice("stale", "2 ms"), Notice("imu-gap", "3 samples")]
    path = make_bundle(warnings=noticed)
    assert list(read_bundle(path).warnings) == noticed
    assert "stale: 2 ms" in check_bundle(path)


def test_metadata_without_a_json_form_is_kept_as_text(make_bundle: Make, make_frame: Make) -> None:
    metadata = {
        "matrix": np.eye(2),
        "gain": np.float32(1.5),
        "bad": float("nan"),
        "rect": range(2),
        3: True,
    }
    read = read_bundle(make_bundle(make_frame(metadata=metadata))).metadata
    assert read == {
        "matrix": [[1.0, 0.0], [0.0, 1.0]],
        "gain": 1.5,
        "bad": None,
        "rect": "range(0, 2)",
        "3": True,
    }


def test_a_shot_without_its_sensor_still_is_a_bundle(make_bundle: Make) -> None:
    path = make_bundle(samples=ImuSamples.empty())
    bundle = read_bundle(path)
    assert len(bundle.samples) == 0
    coverage = bundle.imu_coverage()
    assert not coverage.covers
    assert coverage.found() == "no samples"
    with pytest.raises(InputError, match="no samples"):
        check_bundle(path)


def test_coverage_counts_the_time_shift(
    make_bundle: Make, make_samples: Make, make_calibration: Make
) -> None:
    # Rows are exposed from 4.98 s to 5.0 s + 47 * 28.571 us; the log runs from 4.0 s to 5.995 s.
    coverage = read_bundle(make_bundle(calibration=make_calibration(timeshift_s=0.5)))
    found = coverage.imu_coverage()
    assert found.starts_before_s == pytest.approx(1.48, abs=TOLERANCE_S)
    assert found.ends_after_s == pytest.approx(0.995 - 0.5 - 47 * 28.571e-6, abs=TOLERANCE_S)
    assert found.largest_gap_s == pytest.approx(0.005)
    assert found.covers
    assert not found.has_gap


@pytest.mark.parametrize(
    ("start_s", "end_s", "found"),
    [(4.99, 6.0, "starts 9.0 ms too late"), (4.0, 5.001, "too early"), (7.0, 8.0, "too late")],
)
def test_a_log_beside_the_exposure_is_read_but_fails_the_check(
    make_bundle: Make, make_samples: Make, start_s: float, end_s: float, found: str
) -> None:
    path = make_bundle(samples=make_samples(start_s, end_s))
    assert not read_bundle(path).imu_coverage().covers
    with pytest.raises(InputError, match=found) as caught:
        check_bundle(path)
    assert caught.value.file.endswith("imu.gcsv")


def test_a_gap_in_the_exposure_is_a_warning(make_bundle: Make, make_samples: Make) -> None:
    samples = make_samples()
    keep = (samples.t_ns < 4_985_000_000) | (samples.t_ns > 5_005_000_000)
    holed = ImuSamples(samples.t_ns[keep], samples.gyro_rad_s[keep], samples.acc_g[keep])
    path = make_bundle(samples=holed)
    assert read_bundle(path).imu_coverage().largest_gap_s == pytest.approx(0.03)
    assert any("gap of 30.0 ms" in warning for warning in check_bundle(path))
    assert check_bundle(make_bundle()) == []


FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KNOWN = {"format", "version", "frame", "timing", "sensor", "scene", "metadata", "warnings"}


@st.composite
def tones(draw: st.DrawFn) -> Any:
    x = draw(st.lists(st.floats(0.01, 0.99), max_size=4, unique=True))
    y = draw(st.lists(st.floats(0.01, 0.99), min_size=len(x), max_size=len(x)))
    curve = GammaCurve(((0.0, 0.0), *zip(sorted(x), sorted(y), strict=True), (1.0, 1.0)))
    return draw(st.sampled_from(["linear", "srgb", curve]))


@st.composite
def captures(draw: st.DrawFn) -> Capture:
    height = draw(st.integers(1, 5000))
    positive = st.floats(1e-6, 1e6)
    line = draw(st.integers(0, 10**6) | st.floats(0, 1e6))
    return Capture(
        file=draw(st.sampled_from(["frame.jpg", "frame.PNG", "a b.dng", "übung.jpeg"])),
        width=draw(st.integers(1, 9000)),
        height=height,
        tone=draw(tones()),
        orientation=draw(st.integers(1, 8)),
        timing=FrameTiming(
            draw(st.integers(-(2**61), 2**61)),
            draw(st.integers(1, 10**12)),
            line,
            draw(st.sampled_from(["top_down", "bottom_up"])),
            height,
        ),
        sensor_model=draw(st.text()),
        analogue_gain=draw(st.none() | positive),
        noise=draw(st.none() | st.builds(NoiseModel, st.floats(0, 1), st.floats(0, 1))),
        depth_m=draw(st.none() | positive),
        metadata=draw(st.dictionaries(st.text(), JSON, max_size=4)),
        warnings=tuple(draw(st.lists(st.builds(Notice, st.text(), st.text()), max_size=3))),
        extra=draw(st.dictionaries(st.text().filter(lambda k: k not in KNOWN), JSON, max_size=3)),
    )


@settings(max_examples=150, deadline=None)
@given(captures())
def test_capture_json_round_trip(
    tmp_path_factory: pytest.TempPathFactory, capture: Capture
) -> None:
    path = tmp_path_factory.mktemp("json") / "capture.json"
    path.write_text(capture_text(capture), encoding="utf-8")
    assert read_capture(path) == capture
