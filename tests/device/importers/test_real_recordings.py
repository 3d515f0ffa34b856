"""The recordings as they are: every trap of their READMEs, and bundles that pass the check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from device.bundle import check_bundle, read_bundle
from device.importers.deepgyro import import_deepgyro
from device.importers.nexus import import_nexus
from device.importers.phone_video import import_phone_video


@pytest.fixture(scope="module")
def recordings(shared_data: Path) -> Path:
    return shared_data / "gyro_blur"


def test_deepgyro_burst(recordings: Path, tmp_path: Path) -> None:
    source = recordings / "deepgyro_raw"
    paths = import_deepgyro(source, tmp_path)
    assert [path.name for path in paths] == [f"000{n}.capture" for n in (1, 2, 3, 4)]
    bundles = [read_bundle(path) for path in paths]
    for number, bundle in enumerate(bundles, start=1):
        picture = source / "images" / f"000{number}.jpg"
        assert bundle.frame_file.read_bytes() == picture.read_bytes()
        assert bundle.imu_coverage().covers
        assert bundle.samples.has_acc
        assert (bundle.samples.t_ns[1:] > bundle.samples.t_ns[:-1]).all()
    # The stamp starts the first row's exposure; rows follow over 24.4944 ms.
    assert bundles[0].timing.start_ns == 767_700_989_000
    assert bundles[0].timing.end_ns - bundles[0].timing.start_ns == pytest.approx(44.47e6, rel=1e-3)
    assert bundles[0].calibration.timeshift_s == pytest.approx(-0.01832, abs=1e-5)
    assert np.linalg.det(bundles[0].calibration.R_ci) == pytest.approx(1)
    # 23 gyroscope samples; the first frame's log is held to reach back to its exposure.
    assert [len(bundle.samples) for bundle in bundles] == [24, 23, 23, 23]
    assert any("imu-held" in warning for warning in check_bundle(paths[0]))
    assert not any("imu-held" in warning for warning in check_bundle(paths[1]))
    # m/s^2 became g: the hand holds the tablet upright and swings it.
    assert np.linalg.norm(bundles[1].samples.acc_g, axis=1).mean() == pytest.approx(1.0, abs=0.2)


def test_nexus_chart(recordings: Path, tmp_path: Path) -> None:
    source = recordings / "galaxy_nexus_chart"
    (path,) = import_nexus(source, tmp_path / "mine.capture")
    assert path == tmp_path / "mine.capture"
    assert check_bundle(path) == []
    bundle = read_bundle(path)
    assert bundle.frame_file.read_bytes() == (source / "giro_data_image.jpg").read_bytes()
    assert len(bundle.samples) == 100
    assert not bundle.samples.has_acc
    assert bundle.timing.exposure_ns == 59_994_000
    assert bundle.timing.end_ns == 683_163_086
    assert bundle.metadata["UserPressTimestamp"] < 0
    assert bundle.calibration.fx == pytest.approx(1935.8, abs=0.1)


def test_phone_video(recordings: Path, tmp_path: Path) -> None:
    source = recordings / "phone_video_20200109"
    paths = import_phone_video(source, tmp_path)
    assert len(paths) == 20
    for path in paths:
        assert check_bundle(path) == []
    bundle = read_bundle(paths[0])
    assert paths[0].name == "frame-0099.capture"
    assert bundle.frame_file.read_bytes() == (source / "frames" / "RE_frame-99.jpg").read_bytes()
    assert bundle.timing.first_row_end_ns == 4_328_043_690_897_000
    assert bundle.timing.exposure_ns == 5_405_000
    coverage = bundle.imu_coverage()
    assert coverage.starts_before_s > 1
    assert coverage.ends_after_s > 1
    # Samples at frame borders are printed twice: once each, 412 Hz, stays.
    assert 1 / coverage.interval_s == pytest.approx(412, abs=1)
    assert coverage.largest_gap_s < 0.003
