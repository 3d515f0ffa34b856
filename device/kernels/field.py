"""The kernel field: for every part of the picture, the path along which its light was smeared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.calibration import CameraCalibration
from device.capture.timing import FrameTiming
from device.motion.poses import PoseTrack
from device.motion.rotations import FloatArray

POSES = 9
"""Poses a path: 8 straight pieces lose 0.02 dB against the true path, 4 lose 0.3, 1 loses 4.9."""
MIDDLE = POSES // 2
SPACING_PX = 64


@dataclass(frozen=True, slots=True)
class SyncError:
    """Standard deviations of what the path's uncertainty comes from.

    time_s : between camera and gyroscope; rate_rad_s : of the bias, one axis;
    focal : relative, of the focal length.
    """

    time_s: float = 0.001
    rate_rad_s: float = float(np.deg2rad(0.12))
    focal: float = 0.005


@dataclass(frozen=True)
class KernelField:
    """Paths of light on a grid of nodes.

    node_u : (nx,) float64, columns of the nodes in pixels; the last lies beyond the frame's edge.
    node_v : (ny,) float64, rows.
    paths_px : (ny, nx, 9, 2) float32, where (du, dv) from the node the light of the point seen at
        the node in the MIDDLE of its row's exposure fell at 9 instants, evenly spaced from the
        beginning to the end of the exposure; the middle one is (0, 0).
    sigma_px : (ny, nx) float32, standard deviation of those displacements, rms over the path.
    valid : (ny, nx) bool, False where samples are missing or the point leaves the camera model.
    """

    width: int
    height: int
    node_u: FloatArray
    node_v: FloatArray
    paths_px: NDArray[np.float32]
    sigma_px: NDArray[np.float32]
    valid: NDArray[np.bool_]

    @property
    def length_px(self) -> NDArray[np.float32]:
        """(ny, nx) length of every path in pixels."""
        steps = np.diff(self.paths_px, axis=2)
        return np.asarray(np.hypot(steps[..., 0], steps[..., 1]).sum(axis=2), np.float32)

    @property
    def extent_px(self) -> float:
        """The largest side of any path's bounding box: what a PSF's support must hold."""
        return float(np.ptp(self.paths_px, axis=2).max())

    @property
    def usual_extent_px(self) -> float:
        """The extent that nine valid paths in ten stay below; 0 where none is valid."""
        extents = np.ptp(self.paths_px, axis=2).max(axis=-1)
        return float(np.quantile(extents[self.valid], 0.9)) if self.valid.any() else 0.0

    def paths_at(self, uv_px: NDArray[np.floating]) -> NDArray[np.float32]:
        """Paths at pixels (M, 2): (M, 9, 2), bilinear between the four nodes around."""
        return self._interpolate(self.paths_px, uv_px)

    def sigma_at(self, uv_px: NDArray[np.floating]) -> NDArray[np.float32]:
        """Uncertainty at pixels (M, 2): (M,)."""
        return self._interpolate(self.sigma_px, uv_px)

    def valid_at(self, uv_px: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether all four nodes around pixels (M, 2) are valid: (M,)."""
        share = self._interpolate(self.valid.astype(np.float32), uv_px)
        return np.asarray(share > 0.999)

    def scaled(self, scale: float) -> KernelField:
        """The field of the same picture resized by `scale` (pixel centres at integers)."""
        shift = 0.5 * (scale - 1.0)
        return KernelField(
            width=round(self.width * scale),
            height=round(self.height * scale),
            node_u=self.node_u * scale + shift,
            node_v=self.node_v * scale + shift,
            paths_px=self.paths_px * np.float32(scale),
            sigma_px=self.sigma_px * np.float32(scale),
            valid=self.valid,
        )

    def _interpolate(
        self, values: NDArray[np.float32], uv_px: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        column, across = _cell(self.node_u, uv_px[:, 0])
        row, down = _cell(self.node_v, uv_px[:, 1])
        one_each = (-1,) + (1,) * (values.ndim - 2)
        a, b = across.reshape(one_each), down.reshape(one_each)
        top = values[row, column] * (1 - a) + values[row, column + 1] * a
        bottom = values[row + 1, column] * (1 - a) + values[row + 1, column + 1] * a
        return np.asarray(top * (1 - b) + bottom * b, np.float32)


def kernel_field(
    track: PoseTrack,
    calibration: CameraCalibration,
    timing: FrameTiming,
    *,
    depth_m: float | None = None,
    gaps_ns: tuple[tuple[int, int], ...] = (),
    sync: SyncError | None = None,
    spacing_px: int = SPACING_PX,
) -> KernelField:
    """Paths over each row's own exposure, on nodes `spacing_px` apart.

    A point seen at p at time t is seen at K R_wc(s)^T R_wc(t) K^-1 p at time s; with a known depth
    the camera centre moves too (capture-format: frames and signs).
    """
    sync = sync or SyncError()
    node_u = np.arange(0, calibration.width + spacing_px, spacing_px, dtype=np.float64)
    node_v = np.arange(0, calibration.height + spacing_px, spacing_px, dtype=np.float64)
    mid_ns = np.asarray(timing.row_mid_ns(node_v), np.float64)
    instants = np.linspace(-0.5, 0.5, POSES)
    t_ns = mid_ns[:, None] + timing.exposure_ns * instants
    nodes = np.stack(np.meshgrid(node_u, node_v), axis=-1)
    seen = _seen_at(track, calibration, nodes, mid_ns, t_ns, depth_m)
    paths = seen - nodes[:, :, None, :]
    paths = _follow_the_rows(paths, node_v, mid_ns, timing)
    paths -= paths[:, :, MIDDLE : MIDDLE + 1]
    covered = _covered(track, timing, mid_ns, gaps_ns)
    finite = np.isfinite(paths).all(axis=(2, 3))
    return KernelField(
        width=calibration.width,
        height=calibration.height,
        node_u=node_u,
        node_v=node_v,
        paths_px=np.nan_to_num(paths).astype(np.float32),
        sigma_px=_uncertainty_px(np.nan_to_num(paths), calibration, timing, sync),
        valid=finite & covered[:, None],
    )


def _seen_at(
    track: PoseTrack,
    calibration: CameraCalibration,
    nodes: FloatArray,
    mid_ns: FloatArray,
    t_ns: FloatArray,
    depth_m: float | None,
) -> FloatArray:
    """Pixels (ny, nx, 9, 2) at times t_ns (ny, 9) of the points seen at nodes at mid_ns (ny,)."""
    rays = calibration.pixels_to_rays(nodes)
    R_wc_mid, R_wc = track.rotation_at(mid_ns), track.rotation_at(t_ns)
    turn = np.swapaxes(R_wc, -1, -2) @ R_wc_mid[:, None]
    points = np.einsum("jkab,jib->jika", turn, rays)
    centre_mid, centre = track.centre_at(mid_ns), track.centre_at(t_ns)
    if depth_m is not None and centre_mid is not None and centre is not None:
        moved_w = (centre_mid[:, None] - centre) / depth_m
        points += np.einsum("jkba,jkb->jka", R_wc, moved_w)[:, None]
    return calibration.rays_to_pixels(points)


def _follow_the_rows(
    paths: FloatArray, node_v: FloatArray, mid_ns: FloatArray, timing: FrameTiming
) -> FloatArray:
    """Correct for light that falls on rows which are exposed a little earlier or later.

    A displaced point lands on row v + dv, whose exposure is shifted against the node's by the
    time between the two rows; to first order that moves it by its velocity times that shift.
    """
    if timing.line_time_ns == 0:
        return paths
    # Points outside the lens model fall nowhere; they stay NaN and are marked invalid.
    landing_v = node_v[:, None, None] + np.nan_to_num(paths[..., 1])
    late = (np.asarray(timing.row_mid_ns(landing_v), np.float64) - mid_ns[:, None, None])[..., None]
    velocity = np.gradient(paths, timing.exposure_ns / (POSES - 1), axis=2)
    return paths + velocity * late


def _covered(
    track: PoseTrack,
    timing: FrameTiming,
    mid_ns: FloatArray,
    gaps_ns: tuple[tuple[int, int], ...],
) -> NDArray[np.bool_]:
    first, last = mid_ns - 0.5 * timing.exposure_ns, mid_ns + 0.5 * timing.exposure_ns
    # Nodes beyond the frame's edge serve interpolation only: the track need not reach them.
    inside = np.clip([first, last], timing.start_ns, timing.end_ns)
    covered = (track.t_ns[0] <= inside[0]) & (inside[1] <= track.t_ns[-1])
    for start, end in gaps_ns:
        covered &= (last < start) | (end < first)
    return np.asarray(covered)


def _uncertainty_px(
    paths: FloatArray, calibration: CameraCalibration, timing: FrameTiming, sync: SyncError
) -> NDArray[np.float32]:
    """Rms over the path: time shift x spread of velocity, bias x time, focal length x length."""
    exposure_s = timing.exposure_ns * 1e-9
    velocity = np.gradient(paths, exposure_s / (POSES - 1), axis=2)
    spread = np.square(velocity - velocity[:, :, MIDDLE : MIDDLE + 1]).sum(axis=3).mean(axis=2)
    away_s = exposure_s * np.linspace(-0.5, 0.5, POSES)
    focal_px = 0.5 * (calibration.fx + calibration.fy)
    drift = 2.0 * (focal_px * sync.rate_rad_s) ** 2 * np.mean(away_s**2)
    size = np.square(paths).sum(axis=3).mean(axis=2)
    variance = spread * sync.time_s**2 + drift + size * sync.focal**2
    return np.asarray(np.sqrt(variance), np.float32)


def _cell(
    nodes: FloatArray, at: NDArray[np.floating]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Index of the cell that holds each coordinate, and the fraction across it, clamped."""
    spacing = nodes[1] - nodes[0]
    position = np.clip((at - nodes[0]) / spacing, 0.0, len(nodes) - 1.0)
    index = np.minimum(position.astype(np.intp), len(nodes) - 2)
    return index, (position - index).astype(np.float32)
