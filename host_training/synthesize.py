"""Rendered scenes: small windows of frames that a moving camera took, noise-free, with the truth.

A window is exactly the part of a frame that it would be: its principal point lies where the frame's
does, and its rows are exposed when the frame's rows are. Rendering a whole frame to cut a training
crop from it would cost fifty times more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from device.calibration import CameraCalibration
from device.capture.render import Layer, render_exposure, render_sharp
from device.capture.timing import FrameTiming, RowOrder
from device.kernels.field import KernelField, kernel_field
from device.motion.poses import PoseTrack
from device.motion.rotations import rotation_exp
from device.motion.sources import HandShake, MotionSource, Playback, pose_track
from device.restore.tone import from_linear
from host_training.hand_motion import HandMotion, draw_window
from host_training.photo_library import PhotoLibrary

Image = NDArray[np.float32]
Render = Callable[..., Image]

SURROUND_PX = 64
"""Of the photograph around a window: light comes from there into it, and further out mirrored."""
_TRACK_STEP_NS = 500_000
_TRACK_MARGIN_NS = 20_000_000
_NEAREST_SCENE_M = 1.0
_MOUNTINGS = ([1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1])


@dataclass(frozen=True)
class SceneOptions:
    """What rendered scenes are made of.

    window_px : their side. frame_widths_px : of the frames (4:3) they are windows of, by turns.
    blur_quantiles_px : blur lengths at evenly spaced quantiles, first to last.
    hand_model_share : of scenes whose motion is the hand-shake model instead of a recording.
    near_share : of scenes so near that the hand's translation, which a gyroscope does not see,
        adds up to `translation_px` of blur.
    layer_share : of scenes with something sharp in them that moves along with the camera.
    """

    window_px: int = 288
    frame_widths_px: tuple[int, ...] = (960, 960, 2028, 4056)
    blur_quantiles_px: tuple[float, ...] = (1.0, 6.0, 13.0, 22.0, 45.0)
    exposure_s: tuple[float, float] = (1 / 60, 1 / 10)
    hand_model_share: float = 0.2
    near_share: float = 0.3
    translation_px: float = 1.5
    layer_share: float = 0.12


@dataclass(frozen=True)
class RenderedScene:
    """One window of a frame before noise, and everything that is true about it.

    light : (P, P, 3) float16, linear light that the rows gathered, may exceed full well, 1.
    sharp : (P, P, 3) uint8 sRGB, every row at its own mid-exposure.
    source : the motion, on the camera's clock. field : the exact paths.
    frame_width_px : of the frame that this is a window of.
    """

    light: NDArray[np.float16]
    sharp: NDArray[np.uint8]
    source: MotionSource
    calibration: CameraCalibration
    timing: FrameTiming
    field: KernelField
    frame_width_px: int

    @property
    def blur_px(self) -> float:
        """Median length of the light's path over the window."""
        return float(np.median(self.field.length_px))


def synthesize(
    library: PhotoLibrary,
    motions: list[HandMotion],
    options: SceneOptions,
    rng: np.random.Generator,
    *,
    exposure_renderer: Render = render_exposure,
) -> RenderedScene:
    """Draw photograph, motion, camera and exposure, and render them.

    exposure_renderer : the forward model, or another that equals it (`torch_forward`), for scenes
        without a layer.
    """
    frame_width = int(rng.choice(options.frame_widths_px))
    truth, top = _window_calibration(frame_width, options.window_px, rng)
    quantiles = np.linspace(0.0, 1.0, len(options.blur_quantiles_px))
    blur_px = float(np.interp(rng.random(), quantiles, options.blur_quantiles_px))
    frame_height = frame_width * 3 // 4
    timing_for = _timing(frame_height, top, options.window_px, rng)
    source, timing = _motion(motions, blur_px / truth.fx, timing_for, options, rng)
    track = _track(source, truth, timing)
    depth_m = _depth_m(track, truth, timing, options, rng)
    scene = library.cutout(options.window_px + 2 * SURROUND_PX, rng)
    scene *= np.float32(rng.uniform(0.6, 1.1))
    scene_K = truth.K.copy()
    scene_K[:2, 2] += SURROUND_PX
    seen = scene, scene_K, truth, timing, track
    if rng.random() < options.layer_share:
        layers = [_layer(library, options.window_px, rng)]
        light = render_exposure(*seen, depth_m=depth_m, layers=layers)
        sharp = render_sharp(*seen, depth_m=depth_m, layers=layers)
    else:
        light = exposure_renderer(*seen, depth_m=depth_m)
        sharp = render_sharp(*seen, depth_m=depth_m)
    return RenderedScene(
        light=light.astype(np.float16),
        sharp=from_linear(sharp, "srgb"),
        source=source,
        calibration=truth,
        timing=timing,
        field=kernel_field(track, truth, timing, depth_m=depth_m),
        frame_width_px=frame_width,
    )


def _window_calibration(
    frame_width: int, window_px: int, rng: np.random.Generator
) -> tuple[CameraCalibration, int]:
    """A Pi camera with a sensor glued on by eye, for a window of its frame; the window's top."""
    frame_height = frame_width * 3 // 4
    left = int(rng.integers(frame_width - window_px + 1))
    top = int(rng.integers(frame_height - window_px + 1))
    focal_px = frame_width / 2 / math.tan(math.radians(rng.uniform(50, 65)) / 2)
    T_cam_imu = np.eye(4)
    by_eye = rotation_exp(np.radians(3.0) * rng.standard_normal(3))
    T_cam_imu[:3, :3] = by_eye @ np.diag(rng.choice(_MOUNTINGS)).astype(np.float64)
    T_cam_imu[:3, 3] = rng.uniform(-0.02, 0.02, 3)
    bias = np.radians(0.5) * rng.standard_normal(3)
    calibration = CameraCalibration(
        fx=focal_px,
        fy=focal_px,
        cx=(frame_width - 1) / 2 - left,
        cy=(frame_height - 1) / 2 - top,
        width=window_px,
        height=window_px,
        distortion_model="none",
        distortion_coeffs=(),
        T_cam_imu=T_cam_imu,
        timeshift_s=float(rng.uniform(-0.005, 0.005)),
        gyro_bias_rad_s=(float(bias[0]), float(bias[1]), float(bias[2])),
    )
    return calibration, top


def log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    """A random number between two limits, every ratio as likely as any other."""
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))


def window_timing(frame: FrameTiming, top: int, height: int) -> FrameTiming:
    """The timing of rows top..top + height - 1 of a frame, as a frame of their own."""
    read_first = top if frame.row_order == "top_down" else top + height - 1
    return replace(frame, first_row_end_ns=int(frame.row_end_ns(read_first)), height=height)


def _timing(
    frame_height: int, top: int, window_px: int, rng: np.random.Generator
) -> Callable[[float], FrameTiming]:
    """The window's timing as a function of the exposure in seconds."""
    order: RowOrder = "bottom_up" if rng.random() < 0.25 else "top_down"
    line_time_ns = round(rng.uniform(15e6, 30e6) / frame_height)
    first_row_end_ns = 1000 * 1_000_000_000 + int(rng.integers(10**9))

    def timing(exposure_s: float) -> FrameTiming:
        exposure_ns = round(exposure_s * 1e9)
        frame = FrameTiming(first_row_end_ns, exposure_ns, line_time_ns, order, frame_height)
        return window_timing(frame, top, window_px)

    return timing


def _motion(
    motions: list[HandMotion],
    angle_rad: float,
    timing_for: Callable[[float], FrameTiming],
    options: SceneOptions,
    rng: np.random.Generator,
) -> tuple[MotionSource, FrameTiming]:
    """A motion that turns the camera by about this angle during an exposure, and the timing."""
    if rng.random() < options.hand_model_share:
        exposure_s = log_uniform(options.exposure_s, rng)
        rate_deg_s = min(math.degrees(angle_rad) / exposure_s, 60.0)
        model = HandShake(int(rng.integers(2**31)), rate_rms_deg_s=rate_deg_s)
        return model, timing_for(exposure_s)
    window = draw_window(motions, angle_rad, options.exposure_s, rng)
    timing = timing_for(window.exposure_s)
    recording = window.motion.recording
    origin_s = timing.mid_ns * 1e-9 - window.mid_s
    return Playback(recording, recording.duration_s, origin_s=origin_s), timing


def _track(source: MotionSource, truth: CameraCalibration, timing: FrameTiming) -> PoseTrack:
    first_ns, last_ns = timing.start_ns - _TRACK_MARGIN_NS, timing.end_ns + _TRACK_MARGIN_NS
    t_ns = np.arange(first_ns, last_ns, _TRACK_STEP_NS, dtype=np.int64)
    return pose_track(source, truth.T_cam_imu, t_ns, reference_ns=timing.mid_ns)


def _depth_m(
    track: PoseTrack,
    truth: CameraCalibration,
    timing: FrameTiming,
    options: SceneOptions,
    rng: np.random.Generator,
) -> float | None:
    """Distance at which the hand's translation adds the wanted blur; None for far away."""
    if rng.random() >= options.near_share:
        return None
    inside = (track.t_ns >= timing.start_ns) & (track.t_ns <= timing.end_ns)
    assert track.centre_m is not None
    moved_m = float(np.linalg.norm(np.ptp(track.centre_m[inside], axis=0)))
    wanted_px = options.translation_px * rng.uniform(0.2, 1.0)
    return max(_NEAREST_SCENE_M, moved_m * truth.fx / wanted_px)


def _layer(library: PhotoLibrary, window_px: int, rng: np.random.Generator) -> Layer:
    """A disc of another photograph, fixed to the camera, about a fifth of the window."""
    radius_px = window_px * rng.uniform(0.15, 0.35)
    u0, v0 = rng.uniform(0.25, 0.75, 2) * window_px
    v, u = np.mgrid[:window_px, :window_px]
    inside_px = radius_px - np.hypot(u - u0, v - v0)
    alpha = np.clip(inside_px / 2 + 0.5, 0, 1).astype(np.float32)
    return Layer(library.cutout(window_px, rng), alpha)
