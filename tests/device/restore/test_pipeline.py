"""A bundle to a restored photograph: the stages together, on small pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_bundles import good_bundle
from numpy.typing import NDArray

from device.bundle import Bundle, read_bundle
from device.capture.camera import GammaCurve
from device.capture.timing import FrameTiming
from device.errors import InputError
from device.kernels.field import KernelField
from device.notices import Notice
from device.restore import pipeline, wiener
from device.restore.filter_stage import FilteredPhoto
from device.restore.guard import CELL_PX
from device.restore.guard_stage import Verdict
from device.restore.network import load_model
from device.restore.pipeline import RestoreOptions, restore, unrestored
from device.restore.tone import from_linear, to_linear
from device.restore.working import CHANGE_UNIT, WorkingPhoto

CURVE = GammaCurve(((0.0, 0.0), (0.2, 0.5), (1.0, 1.0)))
MakeBundle = Callable[..., Path]
MakeFrame = Callable[..., Any]


@pytest.fixture
def bundle(make_bundle: MakeBundle) -> Bundle:
    return read_bundle(make_bundle())


def test_the_report_tells_what_was_done_as_plain_json(bundle: Bundle) -> None:
    told = json.loads(json.dumps(restore(bundle).report.to_json()))
    assert (told["format"], told["version"]) == ("stillpi-report", 1)
    assert (told["width"], told["height"]) == (bundle.width, bundle.height)
    assert told["motion"]["blur_px_max"] >= told["motion"]["blur_px_median"] > 0
    assert told["motion"]["bias_source"] == "none"
    assert told["noise"] == {"shot": 0.002, "read": 0.003, "source": "capture.json"}
    assert told["model"] is None
    assert "inverse filter" in told["model_note"]
    assert 0.0 <= told["guard"]["trusted_share"] <= 1.0
    assert [warning["name"] for warning in told["warnings"]] == ["bias-unknown"]
    stages = {"motion", "decode", "noise", "mirror", "filter", "network", "guard", "blend"}
    assert set(told["stages_s"]) == stages


def test_progress_ends_every_stage_at_one(bundle: Bundle) -> None:
    last: dict[str, float] = {}
    restore(bundle, progress=last.__setitem__)
    assert last == {"filter": 1.0, "guard": 1.0, "blend": 1.0}


def test_threads_change_nothing(bundle: Bundle) -> None:
    one = restore(bundle, options=RestoreOptions(threads=1)).pixels
    assert np.array_equal(restore(bundle, options=RestoreOptions(threads=3)).pixels, one)


def test_a_reproducible_picture_does_not_hang_on_last_bits(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another library's transforms, which end in other bits, stand for another processor."""
    changes: list[NDArray[np.int16]] = []
    monkeypatch.setattr(pipeline, "guard_photo", _seeing(pipeline.guard_photo, changes))
    single, double = RestoreOptions(), RestoreOptions(reproducible=True)
    assert not restore(bundle, options=single).report.reproducible
    assert restore(bundle, options=double).report.to_json()["reproducible"] is True
    monkeypatch.setattr(wiener, "fft", np.fft)
    restore(bundle, options=single)
    restore(bundle, options=double)
    np.testing.assert_array_equal(changes[1], changes[3])
    assert not np.array_equal(changes[0], changes[2])
    # Both are right: one unit is a quarter of a hundredth of a code.
    assert np.abs(changes[0].astype(np.int32) - changes[1]).max() <= 2


def _seeing(
    guard_photo: Callable[..., Verdict], changes: list[NDArray[np.int16]]
) -> Callable[..., Verdict]:
    def see(photo: WorkingPhoto, change: NDArray[np.int16], *rest: Any, **options: Any) -> Verdict:
        changes.append(change)
        return guard_photo(photo, change, *rest, **options)

    return see


@pytest.mark.parametrize("with_network", [True, False])
def test_a_mirrored_motion_leaves_the_photograph_and_says_so(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_network: bool
) -> None:
    model = load_model(good_bundle(tmp_path / "tiny")) if with_network else None
    scores = iter([-2.6, -2.4])
    monkeypatch.setattr(pipeline, "mirror_score", lambda *args, **options: next(scores))
    left = restore(bundle, model=model)
    assert np.array_equal(left.pixels, bundle.read_pixels())
    assert [notice.name for notice in left.report.notices][-1] == "motion-mirrored"
    assert left.report.guard == {"trusted_share": 0.0}
    assert left.report.model_note.startswith("not restored")
    done = restore(bundle, model=model)
    assert not np.array_equal(done.pixels, bundle.read_pixels())
    assert done.report.sync["mirror_score"] == -2.4
    assert "motion-mirrored" not in [notice.name for notice in done.report.notices]


def test_what_the_camera_noticed_is_passed_on(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    capture = json.loads((folder / "capture.json").read_text())
    capture["warnings"] = [{"name": "imu-stale", "detail": "the last sample is old"}]
    (folder / "capture.json").write_text(json.dumps(capture))
    bundle = read_bundle(folder)
    names = [notice.name for notice in restore(bundle).report.notices]
    assert names == ["imu-stale", "bias-unknown"]
    _, report = unrestored(bundle, Notice("no-samples", "the log is empty"))
    assert [notice.name for notice in report.notices] == ["imu-stale", "no-samples"]


def test_noise_is_estimated_when_the_bundle_has_none(
    make_bundle: MakeBundle, make_frame: MakeFrame
) -> None:
    bundle = read_bundle(make_bundle(make_frame(noise=None)))
    assert restore(bundle).report.noise["source"] == "estimated"


def test_a_log_with_a_gap_in_every_rows_exposure_is_refused(
    make_bundle: MakeBundle, make_samples: Callable[..., Any]
) -> None:
    samples = make_samples()
    middle_ns = 5_000_000_000 - 10_000_000
    keep = np.abs(samples.t_ns - middle_ns) > 40_000_000
    gappy = type(samples)(samples.t_ns[keep], samples.gyro_rad_s[keep], samples.acc_g[keep])
    with pytest.raises(InputError, match=r"imu\.gcsv: found a gap in every row's exposure"):
        restore(read_bundle(make_bundle(samples=gappy)))


def still_field(bundle: Bundle) -> KernelField:
    node_u, node_v = np.array([0.0, 64.0, 128.0]), np.array([0.0, 64.0])
    shape = (2, 3)
    return KernelField(
        bundle.width, bundle.height, node_u, node_v, np.zeros((*shape, 9, 2), np.float32),
        np.zeros(shape, np.float32), np.ones(shape, bool),
    )  # fmt: skip


@pytest.mark.parametrize("tone", ["srgb", CURVE], ids=["srgb", "curve"])
def test_without_motion_the_photograph_comes_back(
    make_bundle: MakeBundle, make_frame: MakeFrame, tone: Any
) -> None:
    bundle = read_bundle(make_bundle(make_frame(tone=tone), frame_format="png"))
    result = restore(bundle, field=still_field(bundle)).pixels
    assert result.dtype == np.uint8
    assert np.array_equal(result, bundle.read_pixels())


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (16, 16), (33, 20)], ids=str)
def test_no_picture_is_too_small(
    make_bundle: MakeBundle,
    make_frame: MakeFrame,
    make_calibration: Callable[..., Any],
    size: tuple[int, int],
) -> None:
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    timing = FrameTiming(5_000_000_000, 20_000_000, 28_571, "top_down", height)
    frame = make_frame(pixels=pixels, timing=timing, noise=None)
    calibration = make_calibration(width=width, height=height)
    bundle = read_bundle(make_bundle(frame, calibration=calibration, frame_format="png"))
    assert restore(bundle).pixels.shape == (height, width, 3)


def test_linear_light_is_delivered_as_srgb(make_bundle: MakeBundle, make_frame: MakeFrame) -> None:
    pixels = (make_frame().pixels.astype(np.uint16) * 257).astype(np.uint16)
    frame = make_frame(tone="linear", pixels=pixels)
    bundle = read_bundle(make_bundle(frame, frame_format="png"))
    expected = from_linear(to_linear(bundle.read_pixels(), "linear"), "srgb")
    result = restore(bundle, field=still_field(bundle)).pixels
    assert np.array_equal(result, expected)
    plain, _ = unrestored(bundle, Notice("no-samples", "the log is empty"))
    assert np.array_equal(plain, expected)


@pytest.mark.parametrize("width", [49, 50, 64, 65, 101])
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_trust_lies_over_the_place_it_was_given_for(
    make_bundle: MakeBundle,
    make_frame: MakeFrame,
    make_calibration: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    factor: int,
) -> None:
    """A change everywhere, trusted from one cell's edge on: for any width and scale."""
    height = 48
    cells = math.ceil(math.ceil(width / factor) / CELL_PX)
    half = cells // 2

    def brighten(photo: WorkingPhoto, *rest: Any, **options: Any) -> FilteredPhoto:
        step = round(0.2 / float(CHANGE_UNIT))
        change = np.full((photo.height, photo.width, 3), step, np.int16)
        return FilteredPhoto(change, None, np.zeros((1, 1)))

    def trust_the_right(photo: WorkingPhoto, *rest: Any, **options: Any) -> Verdict:
        trust = np.zeros((-(-photo.height // CELL_PX), cells), np.float32)
        trust[:, half:] = 1.0
        return Verdict(trust, trust)

    monkeypatch.setattr(pipeline, "filter_photo", brighten)
    monkeypatch.setattr(pipeline, "guard_photo", trust_the_right)
    monkeypatch.setattr(pipeline, "reduction_for", lambda extent_px: factor)
    frame = make_frame(
        pixels=np.full((height, width, 3), 100, np.uint8),
        timing=FrameTiming(5_000_000_000, 20_000_000, 28_571, "top_down", height),
    )
    calibration = make_calibration(width=width, cx=(width - 1) / 2)
    bundle = read_bundle(make_bundle(frame, calibration=calibration, frame_format="png"))
    row: NDArray[np.uint8] = restore(bundle, field=still_field(bundle)).pixels[height // 2, :, 1]
    side = CELL_PX * factor
    assert row[-1] > 140
    if half:
        # Bilinear: half way up at the edge between the cells, flat half a cell away from it.
        edge = half * side
        assert (row[: edge - side // 2] == 100).all()
        assert (row[edge + side // 2 :] == row[-1]).all()
        assert 100 < row[edge] < row[-1]
