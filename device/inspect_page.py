"""The page of one bundle: what was recorded, how the light moved, what the restoration did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device import page
from device.bundle import Bundle
from device.errors import InputError
from device.gyro_plot import gyro_plot
from device.kernels.draw import draw_field, psf_sheet, psf_support_px, write_png
from device.restore.pipeline import Restoration
from device.restore.tone import from_linear, to_linear
from device.version import software_name

_WHOLE_PX, _DETAIL_PX, _DETAILS = 1400, (420, 560), 4
_PSF_COLUMNS, _PSF_ROWS = 8, 6
_REPORT_PARTS = ("motion", "sync", "noise", "guard", "model", "stages_s")
_STRIP_ROWS = 256


def bundle_page(bundle: Bundle, restoration: Restoration | None, problem: str | None) -> str:
    """The whole page as HTML; `problem` says why there is no restoration. Raises InputError."""
    photograph = displayed(bundle)
    report = restoration.report.to_json() if restoration else {}
    warnings = report["warnings"] if report else [notice.to_json() for notice in bundle.warnings]
    if problem is not None:
        warnings.append({"name": "not restored", "detail": problem})
    whole: page.Slider | None = None
    details: list[page.Slider] = []
    if restoration is not None:
        whole, details = sliders(photograph, restoration.pixels, bundle.orientation)
    name = bundle_title(bundle)
    return page.render_page(
        "inspect.html.j2",
        title=name,
        name=name,
        software=software_name(),
        summary=_summary(bundle, report),
        warnings=warnings,
        whole=whole,
        photograph=None if whole else _shown(photograph, bundle.orientation),
        details=details,
        **_field_pictures(bundle, restoration, photograph),
        gyro=gyro_plot(bundle.samples, bundle.calibration, bundle.timing),
        facts=recording_facts(bundle),
        numbers=page.number_rows(report, _REPORT_PARTS),
    )


def bundle_title(bundle: Bundle) -> str:
    """NAME of NAME.capture."""
    return bundle.path.resolve().name.removesuffix(".capture")


def displayed(bundle: Bundle) -> NDArray[np.uint8]:
    """The photograph (H, W, 3) as 8-bit values a screen shows rightly; not rotated."""
    pixels = bundle.read_pixels()
    if bundle.tone != "linear" and pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    shown = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(pixels), _STRIP_ROWS):  # whole, floats would cost four pictures
        rows = slice(top, top + _STRIP_ROWS)
        if bundle.tone == "linear":
            shown[rows] = from_linear(to_linear(pixels[rows], "linear"), "srgb")
        else:
            shown[rows] = pixels[rows] >> 8
    return shown


def sliders(
    photograph: NDArray[np.uint8], restored: NDArray[np.uint8], orientation: int
) -> tuple[page.Slider, list[page.Slider]]:
    """Photograph against restored: the whole picture and, where that is reduced, details of it."""
    whole = page.compare(
        _shrunk_upright(photograph, orientation), _shrunk_upright(restored, orientation)
    )
    count = _DETAILS if max(restored.shape[:2]) > _WHOLE_PX else 0
    details = [
        page.compare(
            page.upright(photograph[spot], orientation),
            page.upright(restored[spot], orientation),
            f"from column {spot[1].start}, row {spot[0].start}",
            quality=92,
        )
        for spot in page.detail_spots(restored, _DETAIL_PX, count)
    ]
    return whole, details


def write_field_pictures(
    bundle: Bundle, restoration: Restoration | None, field: Path | None, psfs: Path | None
) -> None:
    """Write the paths over the photograph and the PSF sheet as PNG, where a name is given.

    They lie in the photograph's own rows and columns. Raises InputError when there is no field.
    """
    if field is None and psfs is None:
        return
    if restoration is None or restoration.field is None:
        raise InputError(bundle.path, "motion", "none that is usable", "one to draw")
    if field is not None:
        write_png(field, draw_field(displayed(bundle), restoration.field))
    if psfs is not None:
        write_png(psfs, psf_sheet(restoration.field, _PSF_COLUMNS, _PSF_ROWS))


def _field_pictures(
    bundle: Bundle, restoration: Restoration | None, photograph: NDArray[np.uint8]
) -> dict[str, str | None]:
    """Overlay and PSF sheet as data addresses, and what to say about the sheet."""
    if restoration is None or restoration.field is None:
        return {"field": None, "psfs": None, "psf_caption": None}
    field = restoration.field
    overlay = draw_field(page.shrink(photograph, _WHOLE_PX), field)
    sheet = psf_sheet(field, _PSF_COLUMNS, _PSF_ROWS)
    caption = (
        f"Point-spread functions at {_PSF_COLUMNS} by {_PSF_ROWS} evenly spaced places, as they "
        f"lie in the picture: what a point of light became there. Every square is "
        f"{psf_support_px(field)} pixels wide."
    )
    return {
        "field": page.data_uri(page.upright(overlay, bundle.orientation)),
        "psfs": page.data_uri(page.upright(sheet, bundle.orientation), quality=0),
        "psf_caption": caption,
    }


def _shown(photograph: NDArray[np.uint8], orientation: int) -> str:
    return page.data_uri(_shrunk_upright(photograph, orientation))


def _shrunk_upright(picture: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    return page.upright(page.shrink(picture, _WHOLE_PX), orientation)


def _summary(bundle: Bundle, report: dict[str, Any]) -> str:
    parts = [f"{bundle.width} x {bundle.height} pixels, exposed for {exposure_text(bundle)}."]
    motion, guard = report.get("motion"), report.get("guard")
    if motion:
        parts.append(
            f"The blur is {motion['blur_px_median']:.1f} pixels long (median over the picture), "
            f"{motion['blur_px_max']:.1f} at most."
        )
    if guard:
        parts.append(f"{100 * guard['trusted_share']:.0f} % of the restoration was kept.")
    if report.get("model_note"):
        parts.append(f"Note: {report['model_note']}.")
    return " ".join(parts)


def exposure_text(bundle: Bundle) -> str:
    """The exposure as photographers write it: 1/15 s, or 0.5 s."""
    exposure_s = bundle.timing.exposure_ns * 1e-9
    return f"1/{1 / exposure_s:.0f} s" if exposure_s < 0.3 else f"{exposure_s:.2g} s"


def recording_facts(bundle: Bundle) -> list[tuple[str, str]]:
    """What was recorded, in numbers: label and text."""
    timing, calibration = bundle.timing, bundle.calibration
    readout_ms = (timing.end_ns - timing.start_ns - timing.exposure_ns) / 1e6
    gain = "unknown" if bundle.analogue_gain is None else f"{bundle.analogue_gain:g}"
    return [
        ("picture", f"{bundle.width} x {bundle.height}, {bundle.frame_file.name}"),
        ("exposure", f"{timing.exposure_ns / 1e6:.4g} ms ({exposure_text(bundle)})"),
        ("read-out of all rows", f"{readout_ms:.4g} ms" if readout_ms else "at once"),
        ("sensor", bundle.sensor_model),
        ("analogue gain", gain),
        ("focal length", f"{calibration.fx:.1f} x {calibration.fy:.1f} px"),
        ("distortion", calibration.distortion_model),
        ("time shift to the gyroscope", f"{1e3 * calibration.timeshift_s:.3f} ms"),
        ("samples in the log", f"{len(bundle.samples)}"),
        *_log_facts(bundle),
    ]


def _log_facts(bundle: Bundle) -> list[tuple[str, str]]:
    if len(bundle.samples) < 2:
        return []
    coverage = bundle.imu_coverage()
    return [
        ("sampling", f"{1 / coverage.interval_s:.1f} Hz"),
        ("log starts before the exposure", f"{coverage.starts_before_s:.3f} s"),
        ("log ends after the exposure", f"{coverage.ends_after_s:.3f} s"),
        ("largest gap in the exposure", f"{1e3 * coverage.largest_gap_s:.1f} ms"),
    ]
