"""From light to the coded picture, as a sensor and its processor do: noise, clipping, tone.

Noise of a linear value x: variance = shot * x + read^2 (photon counting and read-out; Foi et al.
2008), white in space. It is added before clipping, as on a sensor.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from device.capture.camera import NoiseModel, Tone
from device.restore.tone import from_linear


def develop(
    light: NDArray[np.float32],
    tone: Tone,
    noise: NoiseModel | None = None,
    rng: np.random.Generator | None = None,
) -> NDArray[np.uint8]:
    """The 8-bit picture (H, W, 3) of linear light (H, W, 3); full well is 1.

    noise : None for none; else `rng` draws it. Raises ValueError when the generator is missing.
    """
    if noise is None:
        return from_linear(light, tone)
    if rng is None:
        raise ValueError("noise needs a random generator")
    variance = np.float32(noise.shot) * np.maximum(light, 0) + np.float32(noise.read**2)
    grain = rng.standard_normal(light.shape, dtype=np.float32)
    return from_linear(light + np.sqrt(variance) * grain, tone)


def noise_at_gain(analogue_gain: float) -> NoiseModel:
    """Noise of a small sensor: at gain 8 that of the capture format's example.

    Amplifying g times leaves g times fewer photons for full well, so shot grows as g; read-out
    noise before the amplifier grows as g, behind it not at all: sqrt(g) lies between.
    """
    return NoiseModel(shot=2.5e-4 * analogue_gain, read=1e-3 * math.sqrt(analogue_gain))


def brighten_highlights(
    scene_linear: NDArray[np.float32], *, above: float = 0.85, peak: float = 3.0
) -> NDArray[np.float32]:
    """Give a photograph's burnt-out places the light they had: up to `peak` times full well.

    Lamps, sky and reflections are clipped in any photograph; smeared by motion, their true light
    makes broad white streaks that a clipped scene would not show.
    scene_linear : (H, W, 3). Places whose darkest channel exceeds `above` grow quadratically.
    """
    excess = np.maximum(scene_linear.min(axis=2, keepdims=True) - above, 0) / (1 - above)
    return np.asarray(scene_linear * (1 + (peak - 1) * excess**2), dtype=np.float32)
