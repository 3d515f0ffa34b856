"""What `stillpi bench` measures. Whole programs run in processes of their own, so that their peak
memory is theirs alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from device.bundle import read_bundle, write_bundle
from device.calibration import CameraCalibration
from device.capture.camera import Frame, NoiseModel
from device.capture.timing import FrameTiming
from device.kernels.field import kernel_field
from device.motion.frame_motion import frame_motion
from device.motion.sources import HandShake
from firmware_bridge.benchmark import decode_throughput, parser_throughput
from firmware_bridge.reader_cost import reader_cpu_share
from firmware_bridge.samples import ImuSamples

WIDTH, HEIGHT = 4056, 3040
LINE_TIME_NS = 28571.0
FOCAL_PX = 3900.0
SCENE = Path(__file__).parent / "demo_data" / "osprey.jpg"
EXPOSURES_S = {"short blur": 1 / 60, "medium blur": 1 / 8, "long blur": 1 / 4}
READER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure."""

    name: str
    value: float
    unit: str
    note: str = ""

    def to_json(self) -> dict[str, object]:
        """The row as plain JSON."""
        return asdict(self)


def measure_restoration(folder: Path, threads: int) -> Iterator[Row]:
    """A 12-megapixel bundle through `stillpi deblur`: stages, whole time and peak memory."""
    for label, exposure_s in EXPOSURES_S.items():
        bundle = large_bundle(folder / f"{label.replace(' ', '-')}.capture", exposure_s)
        report, whole_s, peak_mb = _deblur(bundle, folder / f"{bundle.stem}.jpg", threads)
        blur_px, scale = report["motion"]["blur_px_median"], report["working_scale"]
        note = f"{blur_px:.0f} px median blur, working scale {scale:g}, {threads} threads"
        for stage in ("filter", "network", "guard", "blend"):
            yield Row(f"12 MP, {label}: {stage} stage", report["stages_s"][stage], "s", note)
        yield Row(f"12 MP, {label}: whole program", whole_s, "s", note)
        yield Row(f"12 MP, {label}: peak resident memory", peak_mb, "MB", note)


def measure_field(folder: Path, threads: int) -> Iterator[Row]:
    """Log to kernel field of a 12-megapixel frame, best of ten, one thread."""
    bundle = read_bundle(folder / "short-blur.capture")

    def work() -> None:
        motion = frame_motion(bundle.samples, bundle.calibration, bundle.timing)
        kernel_field(motion.track, bundle.calibration, bundle.timing)

    yield Row("kernel field for 4056x3040", 1e3 * _best_of(10, work), "ms", "1 thread")


def measure_driver(folder: Path, threads: int) -> Iterator[Row]:
    """The WT901's bytes: recorded files, the live parser, the reader's share of a core."""
    yield Row("recorded stream to samples", decode_throughput() / 1e6, "MB/s", "1 thread")
    yield Row("live parser, 33-byte reads", parser_throughput() / 1e6, "MB/s", "1 thread")
    share = reader_cpu_share(READER_SECONDS)
    yield Row("reader at 200 Hz", 100.0 * share, "% core", f"over {READER_SECONDS:g} s, a pty")


MEASUREMENTS: tuple[Callable[[Path, int], Iterator[Row]], ...] = (
    measure_restoration,
    measure_field,
    measure_driver,
)


def large_bundle(path: Path, exposure_s: float) -> Path:
    """A 12-megapixel bundle with a shaking hand's log.

    The picture is an enlarged photograph, not blurred by that hand: time and memory do not
    depend on it.
    """
    picture = cv2.imread(str(SCENE), cv2.IMREAD_COLOR)
    assert picture is not None, SCENE
    pixels = cv2.cvtColor(cv2.resize(picture, (WIDTH, HEIGHT)), cv2.COLOR_BGR2RGB)
    timing = FrameTiming(10_000_000_000, round(exposure_s * 1e9), LINE_TIME_NS, "top_down", HEIGHT)
    calibration = CameraCalibration.centred(
        FOCAL_PX, WIDTH, HEIGHT, gyro_bias_rad_s=(0.0, 0.0, 0.0)
    )
    t_s = np.arange(8.0, 10.6, 0.005)
    hand = HandShake(seed=1)
    samples = ImuSamples(
        np.rint(t_s * 1e9).astype(np.int64), hand.gyro_rad_s(t_s), hand.specific_force_g(t_s)
    )
    frame = Frame(pixels=pixels.astype(np.uint8), timing=timing, noise=NoiseModel(1e-3, 2e-3))
    return write_bundle(path, frame, samples, calibration)


def _deblur(
    bundle: Path, target: Path, threads: int
) -> tuple[dict[str, dict[str, float]], float, float]:
    """Run the command; its report, its seconds, its peak resident megabytes."""
    command = [sys.executable, "-m", "device.cli", "deblur", str(bundle), "-o", str(target)]
    begin = time.perf_counter()
    process = subprocess.Popen([*command, "--threads", str(threads)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    whole_s = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    report = json.loads(target.with_suffix(".json").read_text())
    return report, whole_s, usage.ru_maxrss * 1024 / 1e6


def _best_of(times: int, work: Callable[[], None]) -> float:
    durations = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        durations.append(time.perf_counter() - begin)
    return min(durations)
