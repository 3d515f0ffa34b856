"""Kalibr's YAML there and back, the lens models and their inverses, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from device.calibration import CameraCalibration, read_calibration, write_calibration
from device.errors import InputError

ROUND_TRIP_PX = 1e-6


def rotation(x: float, y: float, z: float) -> np.ndarray[Any, Any]:
    return np.asarray(cv2.Rodrigues(np.array([x, y, z], dtype=np.float64))[0])


def transform(rotvec: tuple[float, float, float], t: tuple[float, float, float]) -> Any:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(*rotvec)
    matrix[:3, 3] = t
    return matrix


LENSES = st.one_of(
    st.just(("none", ())),
    st.tuples(
        st.just("radtan"),
        st.tuples(
            st.floats(-0.25, 0.25),
            st.floats(-0.05, 0.05),
            st.floats(-0.005, 0.005),
            st.floats(-0.005, 0.005),
        ),
    ),
    st.tuples(
        st.just("equidistant"),
        st.tuples(
            st.floats(-0.05, 0.05),
            st.floats(-0.02, 0.02),
            st.floats(-0.005, 0.005),
            st.floats(-0.001, 0.001),
        ),
    ),
)


@st.composite
def calibrations(draw: st.DrawFn) -> CameraCalibration:
    lens: tuple[Any, tuple[float, ...]] = draw(LENSES)
    model, coeffs = lens
    focal = draw(st.floats(2500, 6000))
    turn, shift = st.floats(-3, 3), st.floats(-0.2, 0.2)
    bias = st.floats(-0.1, 0.1)
    return CameraCalibration(
        fx=focal,
        fy=focal * draw(st.floats(0.98, 1.02)),
        cx=draw(st.floats(900, 1100)),
        cy=draw(st.floats(600, 800)),
        width=2048,
        height=1536,
        distortion_model=model,
        distortion_coeffs=coeffs,
        T_cam_imu=transform(
            draw(st.tuples(turn, turn, turn)), draw(st.tuples(shift, shift, shift))
        ),
        timeshift_s=draw(st.floats(-0.1, 0.1)),
        gyro_bias_rad_s=draw(st.none() | st.tuples(bias, bias, bias)),
    )


def same(a: CameraCalibration, b: CameraCalibration) -> bool:
    names = [name for name in vars(a) if name in CameraCalibration.__dataclass_fields__]
    plain = all(getattr(a, name) == getattr(b, name) for name in names if name != "T_cam_imu")
    return plain and bool((a.T_cam_imu == b.T_cam_imu).all())


@settings(max_examples=60, deadline=None)
@given(calibrations())
def test_yaml_gives_the_same_numbers_back(
    tmp_path_factory: pytest.TempPathFactory, cal: CameraCalibration
) -> None:
    path = tmp_path_factory.mktemp("cal") / "camera.yaml"
    write_calibration(path, cal)
    assert same(read_calibration(path), cal)


@settings(max_examples=100, deadline=None)
@given(calibrations())
def test_pixels_to_rays_and_back(cal: CameraCalibration) -> None:
    u, v = np.meshgrid(np.linspace(0, 2047, 7), np.linspace(0, 1535, 5))
    uv = np.stack([u, v], axis=-1)
    rays = cal.pixels_to_rays(uv)
    assert rays.shape == (5, 7, 3)
    assert (rays[..., 2] == 1).all()
    np.testing.assert_allclose(cal.rays_to_pixels(rays), uv, atol=ROUND_TRIP_PX)
    np.testing.assert_allclose(cal.rays_to_pixels(3.7 * rays), uv, atol=ROUND_TRIP_PX)


@settings(max_examples=30, deadline=None)
@given(calibrations())
def test_the_lens_models_are_those_of_opencv(cal: CameraCalibration) -> None:
    rays = cal.pixels_to_rays(np.array([[10.0, 20.0], [1900.0, 300.0], [1000.0, 1500.0]]))
    zero, coeffs = np.zeros(3), np.array(cal.distortion_coeffs or (0.0,) * 4)
    if cal.distortion_model == "equidistant":
        seen, _ = cv2.fisheye.projectPoints(rays[:, None], zero, zero, cal.K, coeffs)
    else:
        seen, _ = cv2.projectPoints(rays, zero, zero, cal.K, coeffs)
    np.testing.assert_allclose(cal.rays_to_pixels(rays), seen[:, 0], atol=ROUND_TRIP_PX)


def plain(**changes: Any) -> CameraCalibration:
    values: dict[str, Any] = {
        "fx": 1000.0,
        "fy": 1000.0,
        "cx": 319.5,
        "cy": 239.5,
        "width": 640,
        "height": 480,
        "distortion_model": "none",
        "distortion_coeffs": (),
        "T_cam_imu": np.eye(4),
        **changes,
    }
    return CameraCalibration(**values)


def test_rays_that_do_not_point_forward_have_no_pixel() -> None:
    assert np.isnan(plain().rays_to_pixels([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])).all()


def test_a_pixel_beyond_the_fold_of_the_lens_has_no_ray() -> None:
    cal = plain(distortion_model="radtan", distortion_coeffs=(-0.3, 0.0, 0.0, 0.0))
    assert np.isnan(cal.pixels_to_rays([5000.0, 239.5])[:2]).all()
    assert np.isfinite(cal.pixels_to_rays([639.0, 479.0])).all()


def test_scaling_keeps_the_corners_of_the_picture_in_place() -> None:
    half = plain().scaled(0.5)
    assert (half.width, half.height) == (320, 240)
    full_rays = plain().pixels_to_rays([[-0.5, -0.5], [639.5, 479.5]])
    half_rays = half.pixels_to_rays([[-0.5, -0.5], [319.5, 239.5]])
    np.testing.assert_allclose(full_rays, half_rays, atol=1e-12)


def test_the_rotation_is_made_exact() -> None:
    matrix = transform((0.3, -0.2, 1.0), (0, 0, 0)).round(4)
    R = plain(T_cam_imu=matrix).R_ci
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-15)
    np.testing.assert_allclose(R, matrix[:3, :3], atol=2e-4)


KALIBR = """\
cam0:
  T_cam_imu:
  - [0.0, -1.0, 0.0, 0.01]
  - [-1.0, 0.0, 0.0, 0.0]
  - [0.0, 0.0, -1.0, 0.0]
  - [0.0, 0.0, 0.0, 1.0]
  cam_overlaps: []
  camera_model: pinhole
  distortion_coeffs: [-0.01, 1e-3, 0.0, 0.0]
  distortion_model: radtan
  intrinsics: [1000, 1000, 319.5, 239.5]
  resolution: [640, 480]
  rostopic: /cam0/image_raw
  timeshift_cam_imu: -0.0021
"""


def test_a_file_of_kalibr_is_read(tmp_path: Path) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(KALIBR)
    cal = read_calibration(path)
    assert cal.distortion_coeffs == (-0.01, 0.001, 0.0, 0.0)  # YAML 1.1 reads 1e-3 as text
    assert cal.timeshift_s == -0.0021
    assert cal.gyro_bias_rad_s is None


MIRROR = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
SINGULAR = [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
STRETCHED = [[2, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
BAD_VALUES: list[tuple[str, list[Any]]] = [
    ("camera_model", ["omni", None, 3]),
    (
        "intrinsics",
        [
            [0, 1000, 1, 1],
            [1000, 0.0, 1, 1],
            [-5, 5, 1, 1],
            [1, 2, 3],
            "x",
            [1, 2, 3, "x"],
            [True, 1, 1, 1],
            [float("nan"), 1, 1, 1],
            [1, 1, float("inf"), 1],
            None,
        ],
    ),
    ("distortion_model", ["fov", None, 7]),
    ("distortion_coeffs", [[0.0], [1, 2, 3, 4, 5], [float("nan")] * 4, None, [-9.0, 0, 0, 0]]),
    ("resolution", [[640], [640, 0], [640.5, 480], [-640, 480], None, "640x480", [1e9, 480]]),
    ("T_cam_imu", [MIRROR, SINGULAR, STRETCHED, [[1, 0], [0, 1]], None, np.zeros((4, 4)).tolist()]),
    ("timeshift_cam_imu", ["soon", None, float("nan"), float("inf"), [1]]),
    ("gyro_bias_imu_rad_s", [[1, 2], "x", [1, 2, float("nan")]]),
]


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in BAD_VALUES for value in values]
)
def test_a_bad_value_is_named_with_its_file(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "camera.yaml"
    document = yaml.safe_load(KALIBR)
    document["cam0"][key] = value
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(InputError) as caught:
        read_calibration(path)
    assert caught.value.field.startswith(f"cam0.{key}")
    assert str(caught.value).startswith(f"{path}: cam0.{key}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", [key for key, _ in BAD_VALUES if not key.startswith("gyro")])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    path = tmp_path / "camera.yaml"
    document = yaml.safe_load(KALIBR)
    del document["cam0"][key]
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(InputError, match=rf"cam0\.{key}: found nothing, expected"):
        read_calibration(path)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("cam0:\n  camera_model: [pinhole\n", "line 3"),
        ("cam0:\n\tcamera_model: pinhole\n", "line 2"),
        ("[" * 5000, "the document"),
        ("", "cam0"),
        ("cam1: {}\n", "cam0"),
        ("- 1\n", "cam0"),
        ("cam0: 7\n", "cam0"),
        ("cam0: !!python/object:os.system {}\n", "line 1"),
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_calibration(path)
    assert caught.value.field == place


def test_a_file_that_is_not_text_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "camera.yaml"
    with pytest.raises(InputError, match="found nothing"):
        read_calibration(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_calibration(path)
