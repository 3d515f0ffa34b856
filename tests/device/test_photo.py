from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from device.bundle import read_bundle
from device.calibration import CameraCalibration
from device.capture.camera import Frame, GammaCurve
from device.capture.timing import FrameTiming
from device.errors import CameraError, InputError
from device.notices import Notice
from device.photo import AFTER_NS, BEFORE_NS, PATIENCE_NS, Photo, next_bundle, take_photo
from firmware_bridge.reader_stats import ReaderStats
from firmware_bridge.samples import ImuSamples

MS = 1_000_000
ASKED_NS = 500_000 * MS
EXPOSURE_NS = 40 * MS
LINE_NS = 500_000
HEIGHT, WIDTH = 48, 64
TIMESHIFT_S = 0.004
TAKEN_S = 1_700_000_000.25


class Clock:
    """CLOCK_MONOTONIC that moves when the camera exposes."""

    def __init__(self) -> None:
        self.now_ns = ASKED_NS

    def __call__(self) -> int:
        return self.now_ns


@dataclass
class FrameGiver:
    """A camera: exposes for its time, hands over the frame 100 ms later."""

    clock: Clock
    begins_ns: int = ASKED_NS + 5 * MS
    notices: tuple[Notice, ...] = ()
    fails: bool = False
    frame: dict[str, Any] = field(default_factory=dict)
    calibration: CameraCalibration = field(
        default_factory=lambda: CameraCalibration(
            80.0, 80.0, 31.5, 23.5, WIDTH, HEIGHT, "none", (), np.eye(4), TIMESHIFT_S
        )
    )

    def capture(self) -> Frame:
        if self.fails:
            raise CameraError("no frame arrived within 5 s")
        first_end_ns = self.begins_ns + EXPOSURE_NS
        timing = FrameTiming(first_end_ns, EXPOSURE_NS, LINE_NS, "top_down", HEIGHT)
        self.clock.now_ns = ASKED_NS + 200 * MS
        pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        return Frame(pixels, timing, **{"sensor_model": "imx477", "orientation": 3, **self.frame})

    def close(self) -> None:
        pass


def healthy(**changes: Any) -> ReaderStats:
    stats = ReaderStats(
        alive=True,
        connected=True,
        link="/dev/imu at 115200 baud",
        last_error=None,
        reconnects=0,
        samples=1000,
        rate_hz=200.0,
        age_s=0.01,
        losses=0,
        incomplete_cycles=0,
        checksum_errors=0,
        skipped_bytes=0,
        in_dead_band=False,
        zero_runs=0,
        longest_zero_run=0,
        clock_source="chip",
        latency_p50_s=0.003,
        latency_p99_s=0.005,
        clock_uncertainty_s=2e-4,
        drift_ppm=30.0,
        clock_jumps=0,
    )
    return replace(stats, **changes)


def log_of(start_ns: int, end_ns: int, interval_ns: int = 5 * MS) -> ImuSamples:
    """Samples on the sensor's own counts, never zero, all of a span."""
    t_ns = np.arange(start_ns, end_ns + 1, interval_ns, dtype=np.int64)
    counts = np.random.default_rng(0).integers(1, 300, (len(t_ns), 3))
    acc = np.tile([0.0, 0.0, 1.0], (len(t_ns), 1))
    return ImuSamples(t_ns, counts * np.radians(2000 / 32768), acc)


WHOLE_LOG = log_of(ASKED_NS - 5000 * MS, ASKED_NS + 5000 * MS)


@dataclass
class LiveLog:
    """A reader with these samples in its ring."""

    samples: ImuSamples = field(default_factory=lambda: WHOLE_LOG)
    health: ReaderStats = field(default_factory=healthy)
    asked: list[tuple[int, int, int | None]] = field(default_factory=list)

    def samples_between(
        self, start_ns: int, end_ns: int, *, wait_until_ns: int | None = None
    ) -> ImuSamples:
        self.asked.append((start_ns, end_ns, wait_until_ns))
        return self.samples.between(start_ns, end_ns)

    def stats(self) -> ReaderStats:
        return self.health


@pytest.fixture
def shoot(tmp_path: Path) -> Callable[..., Photo]:
    clock = Clock()

    def take(log: LiveLog | None = None, **keys: Any) -> Photo:
        options = {key: keys.pop(key) for key in ("live", "frame_format") if key in keys}
        camera = FrameGiver(clock, **keys)
        return take_photo(
            camera,
            log,
            tmp_path / "IMG_0001.capture",
            monotonic_ns=clock,
            wall_s=lambda: TAKEN_S + 0.195,  # the frame arrives 195 ms after it began
            **options,
        )

    return take


def names(photo: Photo) -> list[str]:
    """The notices' names, the same ones in the bundle."""
    written = json.loads((photo.bundle / "capture.json").read_text())["warnings"]
    assert written == [notice.to_json() for notice in photo.notices]
    return [notice.name for notice in photo.notices]


def test_a_good_photograph_has_no_notices(shoot) -> None:
    photo = shoot(LiveLog(), frame_format="png")
    assert names(photo) == []
    bundle = read_bundle(photo.bundle)
    assert bundle.timing.first_row_end_ns == ASKED_NS + 5 * MS + EXPOSURE_NS
    assert bundle.orientation == 3
    assert bundle.imu_coverage().covers
    pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    np.testing.assert_array_equal(bundle.read_pixels(), pixels)


def test_the_log_is_asked_for_by_time_with_the_shift(shoot) -> None:
    log = LiveLog()
    shoot(log)
    ((start_ns, end_ns, wait_until_ns),) = log.asked
    begins_ns = ASKED_NS + 5 * MS
    ends_ns = begins_ns + EXPOSURE_NS + round((HEIGHT - 1) * LINE_NS)
    assert start_ns == begins_ns + 4 * MS - BEFORE_NS
    assert end_ns == ends_ns + 4 * MS + AFTER_NS
    assert wait_until_ns == end_ns + PATIENCE_NS


def test_the_wait_is_bounded_whatever_the_frame_says(shoot) -> None:
    log = LiveLog()
    photo = shoot(log, begins_ns=ASKED_NS + 10**15)
    arrived_ns = ASKED_NS + 200 * MS
    assert log.asked[0][2] <= arrived_ns + 2 * AFTER_NS + PATIENCE_NS
    assert "frame-clock" in names(photo)


def test_the_sensors_integers_are_kept(shoot) -> None:
    photo = shoot(LiveLog())
    rows = (photo.bundle / "imu.gcsv").read_text().splitlines()
    assert all("." not in row for row in rows[rows.index("t,gx,gy,gz,ax,ay,az") + 1 :])
    samples = read_bundle(photo.bundle).samples
    expected = WHOLE_LOG.between(int(samples.t_ns[0]), int(samples.t_ns[-1]))
    np.testing.assert_array_equal(samples.t_ns, expected.t_ns)
    np.testing.assert_allclose(samples.gyro_rad_s, expected.gyro_rad_s, rtol=1e-12)


def test_without_a_sensor_the_photograph_is_kept(shoot) -> None:
    photo = shoot(None)
    assert names(photo) == ["no-imu"]
    bundle = read_bundle(photo.bundle)
    assert len(bundle.samples) == 0
    assert not bundle.imu_coverage().covers


def test_an_unplugged_sensor_is_named_with_its_reason(shoot) -> None:
    log = LiveLog(ImuSamples.empty(), healthy(last_error="/dev/imu: lost"))
    photo = shoot(log)
    assert names(photo)[0] == "no-imu"
    assert photo.notices[0].detail.endswith("no samples: /dev/imu: lost")


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "found"),
    [(-2000, 20, "ends .* ms too early"), (20, 2000, "starts .* ms too late")],
)
def test_a_log_that_does_not_cover_the_exposure(shoot, start_ms, end_ms, found) -> None:
    photo = shoot(LiveLog(log_of(ASKED_NS + start_ms * MS, ASKED_NS + end_ms * MS)))
    assert names(photo) == ["imu-short"]
    assert re.search(found, photo.notices[0].detail)


def without(samples: ImuSamples, start_ns: int, end_ns: int) -> ImuSamples:
    keep = (samples.t_ns < start_ns) | (samples.t_ns > end_ns)
    return ImuSamples(samples.t_ns[keep], samples.gyro_rad_s[keep], samples.acc_g[keep])


@pytest.mark.parametrize(("gap_ms", "noticed"), [(5, False), (15, True), (30, True)])
def test_a_gap_in_the_exposure(shoot, gap_ms: int, noticed: bool) -> None:
    middle_ns = ASKED_NS + 30 * MS
    log = LiveLog(without(WHOLE_LOG, middle_ns, middle_ns + gap_ms * MS - 1))
    assert names(shoot(log)) == (["imu-gap"] if noticed else [])


def test_a_gap_before_the_exposure_does_not_matter(shoot) -> None:
    log = LiveLog(without(WHOLE_LOG, ASKED_NS - 300 * MS, ASKED_NS - 100 * MS))
    assert names(shoot(log)) == []


def test_a_slow_sensor(shoot) -> None:
    log = LiveLog(log_of(ASKED_NS - 3000 * MS, ASKED_NS + 3000 * MS, 20 * MS))
    photo = shoot(log)
    assert names(photo) == ["imu-slow"]
    assert photo.notices[0].detail.startswith("50 samples a second")


@pytest.mark.parametrize(
    ("zeros", "at_ms", "noticed"), [(4, 30, False), (5, 30, True), (9, -500, False)]
)
def test_the_dead_band(shoot, zeros: int, at_ms: int, noticed: bool) -> None:
    rate = WHOLE_LOG.gyro_rad_s.copy()
    first = int(np.searchsorted(WHOLE_LOG.t_ns, ASKED_NS + at_ms * MS))
    rate[first : first + zeros] = 0.0
    log = LiveLog(ImuSamples(WHOLE_LOG.t_ns, rate, WHOLE_LOG.acc_g))
    assert names(shoot(log)) == (["gyro-dead-band"] if noticed else [])


@pytest.mark.parametrize("uncertainty_s", [2.1e-3, float("inf"), float("nan")])
def test_a_doubtful_clock(shoot, uncertainty_s: float) -> None:
    log = LiveLog(health=healthy(clock_uncertainty_s=uncertainty_s))
    assert names(shoot(log)) == ["clock-uncertain"]


def test_a_stale_frame(shoot) -> None:
    photo = shoot(LiveLog(), begins_ns=ASKED_NS - 250 * MS)
    assert names(photo) == ["stale-frame"]
    assert "0.250 s before" in photo.notices[0].detail


def test_replayed_frames_are_not_judged_by_the_clock(shoot) -> None:
    photo = shoot(LiveLog(), begins_ns=ASKED_NS - 250 * MS, live=False)
    assert names(photo) == []
    with Image.open(photo.bundle / "frame.jpg") as image:
        assert "exif" not in image.info


def test_the_cameras_own_notices_come_along(shoot) -> None:
    notice = Notice("line-time-from-table", "the driver does not tell")
    assert names(shoot(LiveLog(), notices=(notice,))) == ["line-time-from-table"]


def test_samples_that_go_back_in_time_are_left_out(shoot) -> None:
    t_ns = WHOLE_LOG.t_ns.copy()
    at = int(np.searchsorted(t_ns, ASKED_NS - 1000 * MS))
    t_ns[at : at + 3] = t_ns[at - 1] - np.array([3, 2, 1]) * MS
    log = LiveLog(ImuSamples(np.sort(t_ns), WHOLE_LOG.gyro_rad_s, WHOLE_LOG.acc_g))
    log.samples_between = lambda *_, **__: ImuSamples(  # type: ignore[method-assign]
        t_ns, WHOLE_LOG.gyro_rad_s, WHOLE_LOG.acc_g
    )
    samples = read_bundle(shoot(log).bundle).samples
    assert len(samples) == len(t_ns) - 3
    assert (np.diff(samples.t_ns) > 0).all()


def test_metadata_no_json_holds_does_not_cost_the_photograph(shoot) -> None:
    metadata = {"Lux": float("nan"), "ScalerCrop": (0, 0, 4056, 3040), "Strange": object()}
    tone = GammaCurve(((0.0, 0.0), (0.5, 0.75), (1.0, 1.0)))
    photo = shoot(LiveLog(), frame={"metadata": metadata, "tone": tone, "depth_m": 2.0})
    bundle = read_bundle(photo.bundle)
    assert bundle.metadata["ScalerCrop"] == [0, 0, 4056, 3040]
    assert bundle.tone == tone


def test_the_frame_is_dated_with_the_start_of_its_exposure(shoot) -> None:
    photo = shoot(LiveLog())
    with Image.open(photo.bundle / "frame.jpg") as image:
        exif = image.getexif()
        tags = exif.get_ifd(0x8769)
    assert tags[0x9291] == "250"
    assert len(tags[0x9003]) == 19
    assert tags[0x9011][0] in "+-"
    assert tags[0x829A] == pytest.approx(0.04)
    assert exif[0x0112] == 3


def test_no_frame_no_bundle(shoot, tmp_path: Path) -> None:
    with pytest.raises(CameraError):
        shoot(LiveLog(), fails=True)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_bundle_is_never_replaced(shoot) -> None:
    shoot(LiveLog())
    with pytest.raises(InputError, match="folder"):
        shoot(LiveLog())


def test_a_full_disk_leaves_nothing_behind(shoot, tmp_path: Path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("device.bundle_write.write_calibration", full)
    with pytest.raises(OSError, match="No space"):
        shoot(LiveLog())
    assert list(tmp_path.iterdir()) == []


def test_photographs_are_counted(tmp_path: Path) -> None:
    assert next_bundle(tmp_path / "new").name == "IMG_0001.capture"
    for name in ("IMG_0007.jpg", "IMG_0003.capture", "IMG_x.jpg", "IMG_12345.json", "other.jpg"):
        (tmp_path / name).touch()
    assert next_bundle(tmp_path).name == "IMG_12346.capture"
