"""One simulated photograph: scene, motion and sensor drawn at random, a bundle and its truth."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.bundle import write_bundle
from device.calibration import CameraCalibration
from device.capture.camera import Frame
from device.capture.develop import brighten_highlights, develop, noise_at_gain
from device.capture.render import Layer, render_exposure, render_sharp
from device.capture.timing import FrameTiming, RowOrder
from device.kernels.field import kernel_field
from device.motion.poses import PoseTrack
from device.motion.rotations import FloatArray, rotation_exp
from device.motion.sources import MotionSource, Playback, pose_track
from device.restore.tone import from_linear
from firmware_bridge.gcsv import WT901_ASCALE_G, WT901_GSCALE_RAD_S
from host_training.hand_motion import HandMotion, Window, draw_window
from host_training.photos import read_scene, texture
from host_training.sensor_log import CalibrationErrors, miscalibrated, sensor_log
from host_training.truth import Truth, write_truth

LOG_BEFORE_S, LOG_AFTER_S = 2.0, 0.3
_TRACK_STEP_NS = 500_000
_MOUNTINGS = ([1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1])
"""Signs of the sensor's axes against the camera's: the ways a square board is glued on."""


@dataclass(frozen=True)
class ShotOptions:
    """What simulated photographs are made of.

    shrink : how much photographs are shrunk first. margin : of the scene around the frame, as a
    share of its size. min_texture : photographs and crops below it are left out (0..255 codes).
    layer : something sharp, fixed to the camera, covers a fifth of every picture.
    held_back : only photographs that training never sees.
    """

    width: int = 960
    height: int = 720
    shrink: int = 2
    margin: float = 0.05
    min_texture: float = 3.0
    exposure_s: tuple[float, float] = (1 / 60, 1 / 10)
    errors: CalibrationErrors = field(default_factory=CalibrationErrors)
    layer: bool = False
    held_back: bool = True


@dataclass(frozen=True)
class Shot:
    """One simulated photograph in the making.

    index : gives the bundle its name and place in time. layer_photo : what the layer shows.
    """

    index: int
    photo: Path
    layer_photo: Path
    options: ShotOptions
    rng: np.random.Generator

    def make(self, destination: Path, motions: Sequence[HandMotion], blur_px: float) -> Path:
        """Render, write bundle and truth, return the bundle's folder."""
        truth_cal = self._calibration()
        window = draw_window(
            list(motions), blur_px / truth_cal.fx, self.options.exposure_s, self.rng
        )
        timing = self._timing(window)
        mid_ns = timing.mid_ns
        source = Playback(
            window.motion.recording,
            window.motion.recording.duration_s,
            origin_s=mid_ns * 1e-9 - window.mid_s,
        )
        track = self._track(source, truth_cal, timing)
        scene, scene_K = self._scene(truth_cal)
        layers, mask = self._layers()
        light = render_exposure(scene, scene_K, truth_cal, timing, track, layers=layers)
        sharp = render_sharp(scene, scene_K, truth_cal, timing, track, layers=layers)
        frame = self._frame(light, timing)
        samples = sensor_log(
            source,
            truth_cal,
            timing.start_ns - round(LOG_BEFORE_S * 1e9),
            timing.end_ns + round(LOG_AFTER_S * 1e9),
            self.rng,
        )
        calibration = miscalibrated(truth_cal, self.options.errors, self.rng)
        name = re.sub(r"\W+", "_", self.photo.stem)
        bundle = write_bundle(
            destination / f"{self.index:03d}-{name}.capture",
            frame,
            samples,
            calibration,
            frame_format="png" if self.index % 4 == 3 else "jpg",
            quality=95,
            gscale=WT901_GSCALE_RAD_S,
            ascale=WT901_ASCALE_G,
        )
        length_px = float(np.median(kernel_field(track, truth_cal, timing).length_px))
        truth = Truth(from_linear(sharp, "srgb"), track, truth_cal, length_px, mask)
        write_truth(bundle, truth)
        return bundle

    def _calibration(self) -> CameraCalibration:
        """A Pi camera of 50 to 65 degrees with a sensor glued on by eye."""
        width, height = self.options.width, self.options.height
        focal_px = width / 2 / math.tan(math.radians(self.rng.uniform(50, 65)) / 2)
        T_cam_imu = np.eye(4)
        by_eye = rotation_exp(np.radians(3.0) * self.rng.standard_normal(3))
        T_cam_imu[:3, :3] = by_eye @ np.diag(self.rng.choice(_MOUNTINGS)).astype(np.float64)
        T_cam_imu[:3, 3] = self.rng.uniform(-0.02, 0.02, 3)
        bias = np.radians(0.5) * self.rng.standard_normal(3)
        return CameraCalibration(
            fx=focal_px,
            fy=focal_px,
            cx=(width - 1) / 2 + float(self.rng.uniform(-5, 5)),
            cy=(height - 1) / 2 + float(self.rng.uniform(-5, 5)),
            width=width,
            height=height,
            distortion_model="none",
            distortion_coeffs=(),
            T_cam_imu=T_cam_imu,
            timeshift_s=float(self.rng.uniform(-0.005, 0.005)),
            gyro_bias_rad_s=(float(bias[0]), float(bias[1]), float(bias[2])),
        )

    def _timing(self, window: Window) -> FrameTiming:
        order: RowOrder = "bottom_up" if self.rng.random() < 0.25 else "top_down"
        line_time_ns = round(self.rng.uniform(15e6, 30e6) / self.options.height)
        first_row_end_ns = (1000 + 10 * self.index) * 1_000_000_000 + int(self.rng.integers(10**9))
        exposure_ns = round(window.exposure_s * 1e9)
        return FrameTiming(first_row_end_ns, exposure_ns, line_time_ns, order, self.options.height)

    def _track(
        self, source: MotionSource, truth: CameraCalibration, timing: FrameTiming
    ) -> PoseTrack:
        margin_ns = 20_000_000
        t_ns = np.arange(
            timing.start_ns - margin_ns, timing.end_ns + margin_ns, _TRACK_STEP_NS, dtype=np.int64
        )
        return pose_track(source, truth.T_cam_imu, t_ns, reference_ns=timing.mid_ns)

    def _scene(self, truth: CameraCalibration) -> tuple[NDArray[np.float32], FloatArray]:
        """The photograph in linear light, and intrinsics that put its best crop into the frame."""
        scene = brighten_highlights(read_scene(self.photo, self.options.shrink))
        scene *= np.float32(self.rng.uniform(0.75, 1.1))
        u, v = self._best_crop(scene)
        scene_K = truth.K.copy()
        scene_K[:2, 2] += (u, v)
        return scene, scene_K

    def _best_crop(self, scene: NDArray[np.float32]) -> tuple[int, int]:
        """The left top corner of the most textured of four frame-sized crops."""
        width, height = self.options.width, self.options.height
        margin_u = round(width * self.options.margin)
        margin_v = round(height * self.options.margin)
        best = (-1.0, 0, 0)
        for _ in range(4):
            u = int(self.rng.integers(margin_u, scene.shape[1] - width - margin_u + 1))
            v = int(self.rng.integers(margin_v, scene.shape[0] - height - margin_v + 1))
            crop = from_linear(scene[v : v + height, u : u + width], "srgb")
            best = max(best, (texture(crop), u, v))
        return best[1:]

    def _layers(self) -> tuple[list[Layer], NDArray[np.uint8] | None]:
        """Something sharp that moves with the camera: a disc of another photograph."""
        if not self.options.layer:
            return [], None
        width, height = self.options.width, self.options.height
        radius_px = math.sqrt(0.2 * width * height / math.pi)
        u0 = self.rng.uniform(radius_px, width - radius_px)
        v0 = self.rng.uniform(radius_px, height - radius_px)
        v, u = np.mgrid[:height, :width]
        inside_px = radius_px - np.hypot(u - u0, v - v0)
        alpha = np.clip(inside_px / 2 + 0.5, 0, 1).astype(np.float32)
        scene = read_scene(self.layer_photo, self.options.shrink)
        left, top = self._best_crop(scene)
        picture = scene[top : top + height, left : left + width]
        mask = np.rint(alpha * 255).astype(np.uint8)
        return [Layer(np.ascontiguousarray(picture), alpha)], mask

    def _frame(self, light: NDArray[np.float32], timing: FrameTiming) -> Frame:
        gain = math.exp(self.rng.uniform(0, math.log(8)))
        noise = noise_at_gain(gain)
        return Frame(
            pixels=develop(light, "srgb", noise, self.rng),
            timing=timing,
            tone="srgb",
            sensor_model="simulated",
            analogue_gain=round(gain, 3),
            noise=noise,
            metadata={"SensorTimestamp": timing.first_row_end_ns},
        )
