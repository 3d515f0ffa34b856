"""The forward model of `device.capture.render` in torch, for machines with a GPU.

The same exposure, poses, rows and interpolation: a scene at infinity (or on a plane) under one
homography for each row and pose, cubic interpolation with a = -1/2 as two thirds of a = -3/4 and a
third of a smoothed linear one, mirrored beyond the border. A test holds the two together: within
2e-6 of each other with OpenCV 5; OpenCV 4 rounds places to 1/32 px, torch does not.

No layers and no lens distortion: training scenes have neither.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import grid_sample

from device.calibration import CameraCalibration
from device.capture.timing import FrameTiming
from device.motion.poses import PoseTrack

Image = NDArray[np.float32]

_POSES_PER_PX = 1.5
_CHUNK_PIXELS = 1 << 22
"""Pixels times poses that are looked up together: about 200 MB."""


def render_exposure(
    scene_linear: Image,
    scene_K: NDArray[np.float64],
    calibration: CameraCalibration,
    timing: FrameTiming,
    track: PoseTrack,
    *,
    depth_m: float | None = None,
    min_poses: int = 61,
    device: torch.device | str = "cpu",
) -> Image:
    """The light that every pixel gathers during its row's exposure, (H, W, 3) float32.

    Arguments are those of `device.capture.render.render_exposure`; device : where it is computed.
    Raises ValueError for a distorted lens and for poses from which the scene cannot be seen.
    """
    if calibration.distortion_model != "none":
        raise ValueError("the torch forward model has no lens distortion")
    longest_px = _longest_path_px(scene_K, calibration, timing, track, depth_m)
    n_poses = max(min_poses, math.ceil(_POSES_PER_PX * longest_px))
    fractions = (np.arange(n_poses) + 0.5) / n_poses - 0.5
    offsets_ns = np.rint(fractions * timing.exposure_ns).astype(np.int64)
    t_ns = offsets_ns[:, None] + timing.row_mid_ns(np.arange(calibration.height))
    to_scene = _homographies(scene_K, track, t_ns, depth_m)
    picture = torch.from_numpy(np.ascontiguousarray(scene_linear)).to(device)
    picture = picture.permute(2, 0, 1)[None]
    total = torch.zeros(3, calibration.height, calibration.width, device=device)
    chunk = max(1, _CHUNK_PIXELS // (calibration.height * calibration.width))
    x, y = _rays(calibration, device)
    for first in range(0, n_poses, chunk):
        h = torch.from_numpy(to_scene[first : first + chunk].astype(np.float32)).to(device)
        total += _sample(picture, *_places(h, x, y)).sum(dim=0)
    total /= n_poses
    return np.ascontiguousarray(total.permute(1, 2, 0).cpu().numpy())


def _homographies(
    scene_K: NDArray[np.float64],
    track: PoseTrack,
    t_ns: NDArray[np.int64],
    depth_m: float | None,
) -> NDArray[np.float64]:
    """Rays of the camera at these times (...,) to pixels of the scene, (..., 3, 3)."""
    to_world = track.rotation_at(t_ns)
    centre_m = track.centre_at(t_ns)
    if depth_m is not None and centre_m is not None:
        ahead_m = depth_m - centre_m[..., 2]
        if np.any(ahead_m <= 0):
            raise ValueError(f"the camera moves through the scene plane at {depth_m} m")
        to_world = to_world + (centre_m / ahead_m[..., None])[..., None] * to_world[..., 2:, :]
    return np.asarray(scene_K @ to_world, dtype=np.float64)


def _rays(
    calibration: CameraCalibration, device: torch.device | str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit-z rays: x (W,) and y (H, 1)."""
    x = (np.arange(calibration.width) - calibration.cx) / calibration.fx
    y = (np.arange(calibration.height) - calibration.cy) / calibration.fy
    return (
        torch.from_numpy(x.astype(np.float32)).to(device),
        torch.from_numpy(y.astype(np.float32)[:, None]).to(device),
    )


def _places(h: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels of the scene, u and v (n, H, W), for homographies (n, H, 3, 3)."""
    h = h[..., None]
    w = h[:, :, 2, 0] * x + (h[:, :, 2, 1] * y + h[:, :, 2, 2])
    if float(w.min()) <= 0:
        raise ValueError("the camera turns away from the scene by 90 degrees or more")
    u = (h[:, :, 0, 0] * x + (h[:, :, 0, 1] * y + h[:, :, 0, 2])) / w
    v = (h[:, :, 1, 0] * x + (h[:, :, 1, 1] * y + h[:, :, 1, 2])) / w
    return u, v


def _sample(picture: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The light (n, 3, H, W) at pixels of a picture (1, 3, Hs, Ws), a = -1/2."""
    cubic = _look_up(picture, u, v, "bicubic")
    linear = _look_up(picture, _smoothstep(u), _smoothstep(v), "bilinear")
    return cubic * (2 / 3) + linear * (1 / 3)


def _look_up(picture: torch.Tensor, u: torch.Tensor, v: torch.Tensor, mode: str) -> torch.Tensor:
    poses, height, width = u.shape
    # With aligned corners -1 and 1 are the centres of the outermost pixels.
    scale_u, scale_v = 2.0 / (picture.shape[3] - 1), 2.0 / (picture.shape[2] - 1)
    grid = torch.stack([u * scale_u - 1.0, v * scale_v - 1.0], dim=-1)
    # All poses look at one picture, so they are rows of one tall grid.
    seen = grid_sample(
        picture,
        grid.reshape(1, poses * height, width, 2),
        mode=mode,
        padding_mode="reflection",
        align_corners=True,
    )
    return seen.reshape(3, poses, height, width).transpose(0, 1)


def _smoothstep(coordinates: torch.Tensor) -> torch.Tensor:
    whole = torch.floor(coordinates)
    part = coordinates - whole
    return whole + part * part * (3.0 - 2.0 * part)


def _longest_path_px(
    scene_K: NDArray[np.float64],
    calibration: CameraCalibration,
    timing: FrameTiming,
    track: PoseTrack,
    depth_m: float | None,
) -> float:
    """Length of the longest path that the scene draws over nine places of the frame."""
    places = np.array(
        [
            (u, v)
            for v in np.linspace(0, calibration.height - 1, 3)
            for u in np.linspace(0, calibration.width - 1, 3)
        ]
    )
    rays = calibration.pixels_to_rays(places)
    offsets_ns = np.rint(np.linspace(-0.5, 0.5, 65) * timing.exposure_ns).astype(np.int64)
    t_ns = offsets_ns[:, None] + timing.row_mid_ns(places[:, 1])
    seen = np.einsum("tpij,pj->tpi", _homographies(scene_K, track, t_ns, depth_m), rays)
    steps = np.diff(seen[..., :2] / seen[..., 2:], axis=0)
    lengths = np.hypot(steps[..., 0], steps[..., 1]).sum(axis=0)
    return float(lengths.max() * calibration.fx / scene_K[0, 0])
