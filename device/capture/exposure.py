"""One locked exposure: what is asked of libcamera so that a photograph can be computed with.

Everything that bends light's linearity or mixes pixels or frames is switched off; exposure, gain,
white balance and focus stand still. Controls that a libcamera version does not know are left out.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

OFF = MANUAL = 0  # HdrModeEnum.Off, NoiseReductionModeEnum.Off, AfModeEnum.Manual
AE_CONVERGED = 2  # AeStateEnum.Converged
_SAME_GAINS = 0.01
_EXPOSURE_SLACK_US = 60.0  # two lines of the slowest sensor

PROCESSING: Mapping[str, Any] = {
    "Sharpness": 0.0,
    "Contrast": 1.0,
    "Brightness": 0.0,
    "Saturation": 1.0,
    "NoiseReductionMode": OFF,  # also the temporal one, which mixes earlier frames in
    "HdrMode": OFF,
}
NEEDED = ("ExposureTime", "AnalogueGain", "FrameDurationLimits")


@dataclass(frozen=True, slots=True)
class Exposure:
    """What is held fixed; None where the camera's automatic still decides."""

    exposure_us: int | None
    analogue_gain: float | None
    colour_gains: tuple[float, float] | None

    @property
    def is_locked(self) -> bool:
        """Whether nothing is left to the automatic."""
        return None not in (self.exposure_us, self.analogue_gain, self.colour_gains)


def controls(
    exposure: Exposure,
    known: Container[str],
    frame_us: tuple[int, int],
    lens_position: float | None,
) -> dict[str, Any]:
    """The controls to set, those of them the camera knows.

    frame_us : shortest and longest frame duration; equal when locked.
    lens_position : dioptres, or None to leave the lens alone.
    """
    wanted: dict[str, Any] = {
        **PROCESSING,
        "FrameDurationLimits": frame_us,
        "AeEnable": exposure.exposure_us is None or exposure.analogue_gain is None,
        "AwbEnable": exposure.colour_gains is None,
    }
    if exposure.exposure_us is not None:
        wanted["ExposureTime"] = exposure.exposure_us
    if exposure.analogue_gain is not None:
        wanted["AnalogueGain"] = exposure.analogue_gain
    if exposure.colour_gains is not None:
        wanted["ColourGains"] = exposure.colour_gains
    if lens_position is not None:
        wanted |= {"AfMode": MANUAL, "LensPosition": lens_position}
    return {name: value for name, value in wanted.items() if name in known}


def unlocking(controls: Mapping[str, Any]) -> dict[str, Any]:
    """Controls of an automatic, for a camera that held values: 0 gives them back to libcamera."""
    if not controls.get("AeEnable"):
        return dict(controls)
    return {"ExposureTime": 0, "AnalogueGain": 0.0, **controls}


def has_settled(before: Mapping[str, Any], now: Mapping[str, Any], exposure: Exposure) -> bool:
    """Whether the automatics that still run have found their values, from two frames' metadata."""
    if exposure.exposure_us is None or exposure.analogue_gain is None:
        state = now.get("AeState")  # libcamera 0.5; before it there was AeLocked
        if not (now.get("AeLocked") if state is None else state == AE_CONVERGED):
            return False
    if exposure.colour_gains is None:
        pairs = zip(before.get("ColourGains", ()), now.get("ColourGains", ()), strict=False)
        return all(abs(a - b) <= _SAME_GAINS * abs(a) for a, b in pairs)
    return True


def lock(
    exposure: Exposure,
    metadata: Mapping[str, Any],
    longest_us: int,
    gain_range: tuple[float, float],
) -> Exposure:
    """The automatics' choice, held: at most `longest_us`, the rest of the light as gain.

    metadata : of the last frame under the automatics. Digital gain is asked of the analogue one.
    """
    found_us = float(metadata["ExposureTime"])
    light = found_us * float(metadata.get("AnalogueGain", 1.0))
    if exposure.exposure_us is None:
        light *= float(metadata.get("DigitalGain", 1.0))
    exposure_us = exposure.exposure_us or max(1, min(round(found_us), longest_us))
    gain = exposure.analogue_gain
    if gain is None:
        gain = min(max(light / exposure_us, gain_range[0]), gain_range[1])
    colour = exposure.colour_gains
    if colour is None and "ColourGains" in metadata:
        red, blue = metadata["ColourGains"]
        colour = (float(red), float(blue))
    return replace(exposure, exposure_us=exposure_us, analogue_gain=gain, colour_gains=colour)


def moved(
    exposure: Exposure, stops: float, longest_us: int, gain_range: tuple[float, float]
) -> Exposure:
    """A locked exposure so many stops brighter: by time up to `longest_us`, the rest as gain.

    What is not locked cannot be moved and stays as it is.
    """
    if exposure.exposure_us is None or exposure.analogue_gain is None:
        return exposure
    light = exposure.exposure_us * exposure.analogue_gain * 2.0**stops
    longest_us = max(longest_us, exposure.exposure_us)
    exposure_us = max(1, min(round(exposure.exposure_us * 2.0**stops), longest_us))
    gain = min(max(light / exposure_us, gain_range[0]), gain_range[1])
    return replace(exposure, exposure_us=exposure_us, analogue_gain=gain)


def is_applied(exposure: Exposure, metadata: Mapping[str, Any]) -> bool:
    """Whether a frame was taken with this exposure: a change takes effect two or three later."""
    if exposure.exposure_us is None:
        return True
    off_us = abs(float(metadata.get("ExposureTime", 0)) - exposure.exposure_us)
    return off_us <= max(_EXPOSURE_SLACK_US, 0.01 * exposure.exposure_us)
