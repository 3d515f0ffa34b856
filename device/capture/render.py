"""The forward model: what a rolling-shutter camera records while it moves. There is no other one.

A scene is a picture on the plane at infinity (or at `depth_m`), as a camera at the identity pose
with intrinsics `scene_K` would see it. A picture row v is exposed around `timing.row_mid_ns(v)`;
the exposure is cut into n equal parts and the light of each is taken from the pose at its middle,

    t(v, k) = row_mid_ns(v) + ((k + 0.5) / n - 0.5) * exposure_ns,

so an even pan smears a point over exactly its path (a box). Every row has its own pose and thus
its own homography from rays to scene pixels. With camera centre c and plane z = d:

    scene_K (I + c e_z^T / (d - c_z)) R_wc(t)        (the bracket is I at infinity)

Light is summed linearly in float32; noise and tone come later (`device.capture.develop`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.calibration import CameraCalibration
from device.capture.timing import FrameTiming
from device.motion.poses import PoseTrack

Image = NDArray[np.float32]
_BAND_PIXELS = 1 << 17  # maps and sums of one band stay in the cache
_POSES_PER_PX = 1.5
_MAX_SCENE_SIDE_PX = 32766  # cv2.remap addresses its source with 16-bit integers


@dataclass(frozen=True)
class Layer:
    """A second thing in the picture, nearer than the scene, with a motion of its own.

    scene_linear : (H, W, 3) float32, linear light.
    alpha : (H, W) float32, 0..1, the share of the light that comes from this layer.
    track : the camera's motion relative to the layer; the layer is then seen with `scene_K`
        like the scene. None: the layer is fixed to the camera, H and W are those of the frame.
    depth_m : distance of the layer's plane, None for far away.
    """

    scene_linear: Image
    alpha: Image
    track: PoseTrack | None = None
    depth_m: float | None = None


@dataclass(frozen=True)
class _View:
    """A picture with (H, W, 3 or 4) channels, and how the moving camera looks at it."""

    picture: Image
    scene_K: NDArray[np.float64]
    track: PoseTrack
    depth_m: float | None
    border: int

    def homographies(self, t_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Rays of the camera at these times (...,) to pixels of the picture, (..., 3, 3)."""
        to_world = self.track.rotation_at(t_ns)
        centre_m = self.track.centre_at(t_ns)
        if self.depth_m is not None and centre_m is not None:
            ahead_m = self.depth_m - centre_m[..., 2]
            if np.any(ahead_m <= 0):
                raise ValueError(f"the camera moves through the scene plane at {self.depth_m} m")
            to_world = to_world + (centre_m / ahead_m[..., None])[..., None] * to_world[..., 2:, :]
        return np.asarray(self.scene_K @ to_world, dtype=np.float64)

    def sample(self, homographies: NDArray[np.float64], x: Image, y: Image) -> Image:
        """The light from rays (x, y, 1), one homography for each row of the band."""
        h = homographies.astype(np.float32)[:, :, :, None]
        w = h[:, 2, 0] * x + (h[:, 2, 1] * y + h[:, 2, 2])
        if w.min() <= 0:
            raise ValueError("the camera turns away from the scene by 90 degrees or more")
        map_u = h[:, 0, 0] * x + (h[:, 0, 1] * y + h[:, 0, 2])
        map_v = h[:, 1, 0] * x + (h[:, 1, 1] * y + h[:, 1, 2])
        map_u /= w
        map_v /= w
        return _catmull_rom(self.picture, map_u, map_v, self.border)


def render_exposure(
    scene_linear: Image,
    scene_K: NDArray[np.float64],
    calibration: CameraCalibration,
    timing: FrameTiming,
    track: PoseTrack,
    *,
    depth_m: float | None = None,
    layers: Sequence[Layer] = (),
    min_poses: int = 61,
) -> Image:
    """The light that every pixel gathers during its row's exposure, noise-free.

    scene_linear : (Hs, Ws, 3) float32, linear light, both sides below 32767; beyond its border
        the scene is mirrored.
    scene_K : (3, 3) intrinsics of the scene picture.
    track : poses that cover the frame from `timing.start_ns` to `timing.end_ns`.
    depth_m : distance of the scene plane; None puts it at infinity, where translation is unseen.
    min_poses : lower bound of the poses per exposure; long paths get 1.5 per pixel.

    Returns (H, W, 3) float32 of the calibration's size. Raises ValueError for sizes that do not
    fit and for poses from which the scene cannot be seen.
    """
    views = _views(scene_linear, scene_K, track, depth_m, layers)
    longest_px = _longest_path_px(views, calibration, timing)
    n_poses = max(min_poses, math.ceil(_POSES_PER_PX * longest_px))
    fractions = (np.arange(n_poses) + 0.5) / n_poses - 0.5
    offsets_ns = np.rint(fractions * timing.exposure_ns).astype(np.int64)
    return _render(views, calibration, timing, offsets_ns)


def render_sharp(
    scene_linear: Image,
    scene_K: NDArray[np.float64],
    calibration: CameraCalibration,
    timing: FrameTiming,
    track: PoseTrack,
    *,
    depth_m: float | None = None,
    layers: Sequence[Layer] = (),
) -> Image:
    """The reference: every row as seen at the middle of its own exposure.

    Arguments, result and interpolation are those of `render_exposure`.
    """
    views = _views(scene_linear, scene_K, track, depth_m, layers)
    return _render(views, calibration, timing, np.zeros(1, np.int64))


def _catmull_rom(picture: Image, map_u: Image, map_v: Image, border: int) -> Image:
    """Cubic interpolation with a = -1/2 (Keys 1981), which moves and widens nothing.

    OpenCV's cubic has a = -3/4: it misplaces light by up to 0.05 px and narrows a path of 3 px by
    0.1 px. Keys' kernel is linear in a, and a = 0 is linear interpolation between neighbours
    with the fraction 3 f^2 - 2 f^3, so a third of that and two thirds of OpenCV's give a = -1/2
    (exact along each axis; across both, a term of fourth order remains).
    """
    cubic = cv2.remap(picture, map_u, map_v, cv2.INTER_CUBIC, borderMode=border)
    smooth_u, smooth_v = _smoothstep(map_u), _smoothstep(map_v)
    linear = cv2.remap(picture, smooth_u, smooth_v, cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(cv2.addWeighted(cubic, 2 / 3, linear, 1 / 3, 0.0), dtype=np.float32)


def _smoothstep(coordinates: Image) -> Image:
    whole = np.floor(coordinates)
    part = coordinates - whole
    slope = np.float32(3) - 2 * part
    part *= part
    part *= slope
    part += whole
    return part


def _views(
    scene: Image,
    scene_K: NDArray[np.float64],
    track: PoseTrack,
    depth_m: float | None,
    layers: Sequence[Layer],
) -> list[_View | Image]:
    """The scene, then every layer: premultiplied RGBA, as a view or fixed to the camera."""
    views: list[_View | Image] = [_View(scene, scene_K, track, depth_m, cv2.BORDER_REFLECT_101)]
    for layer in layers:
        alpha = layer.alpha[:, :, None]
        rgba = np.concatenate([layer.scene_linear * alpha, alpha], axis=2).astype(np.float32)
        if layer.track is None:
            views.append(rgba)
        else:
            views.append(_View(rgba, scene_K, layer.track, layer.depth_m, cv2.BORDER_CONSTANT))
    for view in views:
        if isinstance(view, _View) and max(view.picture.shape[:2]) > _MAX_SCENE_SIDE_PX:
            raise ValueError(f"the scene is {view.picture.shape}, at most {_MAX_SCENE_SIDE_PX} px")
    return views


def _render(
    views: Sequence[_View | Image],
    calibration: CameraCalibration,
    timing: FrameTiming,
    offsets_ns: NDArray[np.int64],
) -> Image:
    """The mean over the offsets from mid-exposure, in bands of rows."""
    width, height = calibration.width, calibration.height
    if timing.height != height:
        raise ValueError(f"the timing is for {timing.height} rows, the calibration for {height}")
    fixed = [view for view in views if not isinstance(view, _View)]
    if any(picture.shape[:2] != (height, width) for picture in fixed):
        raise ValueError(f"a layer fixed to the camera must be {width}x{height}")
    total = np.zeros((height, width, 3), np.float32)
    rows_per_band = max(8, _BAND_PIXELS // width)
    for top in range(0, height, rows_per_band):
        rows = slice(top, min(top + rows_per_band, height))
        _add_band(total[rows], rows, views, calibration, timing, offsets_ns)
    total /= len(offsets_ns)
    return total


def _add_band(
    total: Image,
    rows: slice,
    views: Sequence[_View | Image],
    calibration: CameraCalibration,
    timing: FrameTiming,
    offsets_ns: NDArray[np.int64],
) -> None:
    """Add the light of all poses to one band of rows."""
    t_ns = offsets_ns[:, None] + timing.row_mid_ns(np.arange(rows.start, rows.stop))
    x, y = _rays(calibration, rows)
    to_picture = [view.homographies(t_ns) if isinstance(view, _View) else None for view in views]
    for k in range(len(offsets_ns)):
        light = np.zeros((1, 1, 3), np.float32)
        for view, of_pose in zip(views, to_picture, strict=True):
            if isinstance(view, _View):
                assert of_pose is not None
                seen = view.sample(of_pose[k], x, y)
            else:
                seen = view[rows]
            is_scene = seen.shape[2] == 3
            light = seen if is_scene else light * (1 - seen[:, :, 3:]) + seen[:, :, :3]
        total += light


def _rays(calibration: CameraCalibration, rows: slice) -> tuple[Image, Image]:
    """Unit-z rays of a band: x and y, (1, W) and (rows, 1) where there is no distortion."""
    v = np.arange(rows.start, rows.stop, dtype=np.float64)
    u = np.arange(calibration.width, dtype=np.float64)
    if calibration.distortion_model == "none":
        x = ((u - calibration.cx) / calibration.fx)[None, :]
        y = ((v - calibration.cy) / calibration.fy)[:, None]
    else:
        rays = calibration.pixels_to_rays(np.stack(np.meshgrid(u, v), axis=-1))
        x, y = rays[:, :, 0], rays[:, :, 1]
    return x.astype(np.float32), y.astype(np.float32)


def _longest_path_px(
    views: Sequence[_View | Image], calibration: CameraCalibration, timing: FrameTiming
) -> float:
    """Length of the longest path that the scene draws over nine places of the frame."""
    places = [
        (u, v)
        for v in np.linspace(0, calibration.height - 1, 3)
        for u in np.linspace(0, calibration.width - 1, 3)
    ]
    rays = calibration.pixels_to_rays(np.array(places))
    offsets_ns = np.linspace(-0.5, 0.5, 65) * timing.exposure_ns
    t_ns = np.rint(offsets_ns).astype(np.int64)[:, None] + timing.row_mid_ns([v for _, v in places])
    longest_px = 0.0
    for view in views:
        if isinstance(view, _View):
            seen = np.einsum("tpij,pj->tpi", view.homographies(t_ns), rays)
            steps = np.diff(seen[..., :2] / seen[..., 2:], axis=0)
            lengths = np.hypot(steps[..., 0], steps[..., 1]).sum(axis=0)
            longest_px = max(longest_px, lengths.max() * calibration.fx / view.scene_K[0, 0])
    return longest_px
