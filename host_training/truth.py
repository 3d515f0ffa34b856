"""What a simulated bundle knows and a real one does not: the files NAME.truth.png, NAME.exact.npz.

They lie beside NAME.capture, not in it, so that no restoration can look.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from device.calibration import CameraCalibration, DistortionModel
from device.errors import InputError
from device.motion.poses import PoseTrack


@dataclass(frozen=True)
class Truth:
    """The truth of one simulated photograph.

    sharp : (H, W, 3) uint8 sRGB, each row at its own mid-exposure.
    track : the exact poses over the frame. calibration : the exact calibration.
    blur_px : median length of the light's path over the frame.
    layer : (H, W) uint8, 255 where something fixed to the camera covers the scene, or None.
    """

    sharp: NDArray[np.uint8]
    track: PoseTrack
    calibration: CameraCalibration
    blur_px: float
    layer: NDArray[np.uint8] | None = None


def _beside(bundle: Path, kind: str) -> Path:
    return bundle.with_name(bundle.name.removesuffix(".capture") + kind)


def write_truth(bundle: Path, truth: Truth) -> None:
    """Write the truth beside a bundle."""
    cal = truth.calibration
    _write_png(_beside(bundle, ".truth.png"), truth.sharp[:, :, ::-1])
    if truth.layer is not None:
        _write_png(_beside(bundle, ".layer.png"), truth.layer)
    centre_m = truth.track.centre_m
    np.savez_compressed(
        _beside(bundle, ".exact.npz"),
        t_ns=truth.track.t_ns,
        R_wc=truth.track.R_wc,
        centre_m=np.zeros((len(truth.track.t_ns), 3)) if centre_m is None else centre_m,
        blur_px=np.array(truth.blur_px),
        intrinsics=np.array([cal.fx, cal.fy, cal.cx, cal.cy]),
        size=np.array([cal.width, cal.height]),
        distortion_model=np.array(cal.distortion_model),
        distortion_coeffs=np.array(cal.distortion_coeffs, dtype=np.float64),
        T_cam_imu=cal.T_cam_imu,
        timeshift_s=np.array(cal.timeshift_s),
        gyro_bias_rad_s=np.array(cal.gyro_bias_rad_s or (0.0, 0.0, 0.0)),
    )


def read_truth(bundle: Path) -> Truth:
    """Read what `write_truth` wrote; raises InputError when it is not there."""
    exact = _beside(bundle, ".exact.npz")
    if not exact.is_file():
        raise InputError(exact, "truth", "nothing", "a simulated bundle with its truth beside it")
    sharp = _read_png(_beside(bundle, ".truth.png"), cv2.IMREAD_COLOR)[:, :, ::-1]
    layer_path = _beside(bundle, ".layer.png")
    layer = _read_png(layer_path, cv2.IMREAD_GRAYSCALE) if layer_path.is_file() else None
    with np.load(exact) as data:
        fx, fy, cx, cy = (float(x) for x in data["intrinsics"])
        model: DistortionModel = str(data["distortion_model"])  # type: ignore[assignment]
        bias = data["gyro_bias_rad_s"]
        width, height = (int(x) for x in data["size"])
        calibration = CameraCalibration(
            fx=fx,
            fy=fy,
            cx=cx,
            cy=cy,
            width=width,
            height=height,
            distortion_model=model,
            distortion_coeffs=tuple(float(x) for x in data["distortion_coeffs"]),
            T_cam_imu=data["T_cam_imu"],
            timeshift_s=float(data["timeshift_s"]),
            gyro_bias_rad_s=(float(bias[0]), float(bias[1]), float(bias[2])),
        )
        track = PoseTrack(data["t_ns"], data["R_wc"], data["centre_m"])
        return Truth(sharp, track, calibration, float(data["blur_px"]), layer)


def list_bundles(folder: Path) -> list[Path]:
    """The bundles of a test set, sorted by name; raises InputError when there are none."""
    found = sorted(p for p in folder.glob("*.capture") if p.is_dir())
    if not found:
        raise InputError(folder, "bundles", "none", "folders NAME.capture")
    return found


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    # Fast compression: a test set is written often and thrown away.
    ok, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise OSError(f"{path}: the PNG encoder failed")
    path.write_bytes(data.tobytes())


def _read_png(path: Path, mode: int) -> NDArray[np.uint8]:
    data = np.fromfile(path, np.uint8)
    pixels = cv2.imdecode(data, mode) if len(data) else None
    if pixels is None:
        raise InputError(path, "picture", "unreadable", "a PNG file")
    return np.ascontiguousarray(pixels, dtype=np.uint8)
