"""Gyroflow's GCSV log: the `imu.gcsv` of a capture bundle.

A text header, then `t,gx,gy,gz[,ax,ay,az[,mx,my,mz]]`. t * tscale is seconds, g* * gscale is
rad/s, a* * ascale is g. The orientation string says which logged axis is x, y and z of the
IMU frame: capital +, small -, so with `YxZ` a row (gx, gy, gz) means the rate (gy, -gx, gz).
Format: docs.gyroflow.xyz/app/technical-details/gcsv-format; the meaning of the orientation is
that of telemetry-parser, Gyroflow's reader.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import LogFormatError
from firmware_bridge.frames import ACC_SCALE_G, GYRO_SCALE_RAD_S
from firmware_bridge.samples import ImuSamples
from firmware_bridge.whole_file import whole_file

WT901_GSCALE_RAD_S: Final = GYRO_SCALE_RAD_S
WT901_ASCALE_G: Final = ACC_SCALE_G

_TITLES: Final = ("GYROFLOW IMU LOG", "CAMERA IMU LOG")
_GYRO: Final = ("t", "gx", "gy", "gz")
_ACC: Final = ("ax", "ay", "az")
_COLUMNS: Final = (_GYRO, _GYRO + _ACC, (*_GYRO, *_ACC, "mx", "my", "mz"))
_LONGEST_HEADER: Final = 200
_OWN_ID: Final = "stillpi"
_WHOLE: Final = 1e-6
"""A value this close to a whole number of counts is that number: floats err by 1e-11 counts."""


@dataclass(frozen=True, slots=True)
class _Header:
    fields: dict[str, str]
    lines: dict[str, int]
    columns: tuple[str, ...]
    length: int


def read_gcsv(path: str | os.PathLike[str]) -> ImuSamples:
    """Read a GCSV log.

    Times in whole nanoseconds are kept exactly. A log without an accelerometer gives NaN for it;
    a magnetometer is ignored. A log without rows gives no samples: its sensor was missing.

    Raises LogFormatError naming file and line when the header is incomplete or impossible, when
    a row is cut, not a number or not finite, or when times do not increase; OSError when the
    file cannot be read.
    """
    text = _read_text(Path(path))
    lines = text.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    header = _read_header(path, lines)
    cut = not text.endswith(("\n", "\r"))
    if cut and header.fields.get("id", "").startswith(_OWN_ID):
        # Every log of ours ends in a newline; without it the last number may have lost digits.
        raise LogFormatError(path, f"line {len(lines)}", "no end of line", "a whole last row")
    tick_ns = Fraction(_positive(path, header, "tscale")) * 1_000_000_000
    gscale = float(_positive(path, header, "gscale"))
    ascale = float(_positive(path, header, "ascale")) if "ax" in header.columns else float("nan")
    axes, signs = _orientation(path, header)
    rows = lines[header.length :]
    if not rows:
        return ImuSamples.empty()
    ticks, values = _read_rows(path, header, rows)
    t_ns = _nanoseconds(path, ticks, tick_ns)
    _require_increasing(path, header, t_ns)
    gyro = _scaled(path, "gscale", values[:, :3], gscale)
    if "ax" in header.columns:
        acc = _scaled(path, "ascale", values[:, 3:6], ascale)
    else:
        acc = np.full_like(gyro, np.nan)
    return ImuSamples(t_ns, gyro[:, axes] * signs, acc[:, axes] * signs)


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    if not data:
        raise LogFormatError(path, "size", "0 bytes", "a GCSV log")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise LogFormatError(path, f"line {line}", "bytes that are not text", "UTF-8") from problem


def _read_header(path: object, lines: list[str]) -> _Header:
    if not lines or lines[0].strip().lstrip("\ufeff") not in _TITLES:
        found = repr(lines[0][:40]) if lines else "nothing"
        raise LogFormatError(path, "line 1", found, repr(_TITLES[0]))
    fields: dict[str, str] = {}
    places: dict[str, int] = {}
    for index, line in enumerate(lines[1:_LONGEST_HEADER], start=1):
        key, _, value = line.partition(",")
        key = key.strip()
        if key in ("t", "time"):
            columns = ("t", *(name.strip() for name in value.split(",")))
            if columns not in _COLUMNS:
                expected = " or ".join(",".join(names) for names in _COLUMNS)
                raise LogFormatError(path, f"line {index + 1}", repr(line[:60]), expected)
            return _Header(fields, places, columns, index + 1)
        fields[key], places[key] = value.strip(), index + 1
    place = f"line {min(len(lines), _LONGEST_HEADER)}"
    raise LogFormatError(path, place, "no column names so far", "a line t,gx,gy,gz,...")


def _field(path: object, header: _Header, key: str, expected: str) -> str:
    if key not in header.fields:
        raise LogFormatError(path, key, "nothing in the header", expected)
    return header.fields[key]


def _positive(path: object, header: _Header, key: str) -> str:
    """The text of a scale, which is a positive finite number."""
    text = _field(path, header, key, "a positive number")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (0 < value < float("inf")):
        place = f"line {header.lines[key]}, {key}"
        raise LogFormatError(path, place, repr(text), "a positive number")
    return text


def _orientation(path: object, header: _Header) -> tuple[list[int], NDArray[np.float64]]:
    expected = "three letters that name x, y and z once each, such as XYZ or YxZ"
    text = _field(path, header, "orientation", expected)
    if sorted(text.lower()) != ["x", "y", "z"]:
        place = f"line {header.lines['orientation']}, orientation"
        raise LogFormatError(path, place, repr(text), expected)
    signs = np.array([1.0 if letter.isupper() else -1.0 for letter in text])
    return ["xyz".index(letter) for letter in text.lower()], signs


def _read_rows(
    path: object, header: _Header, rows: list[str]
) -> tuple[NDArray[np.int64] | NDArray[np.float64], NDArray[np.float64]]:
    """The time column, whole numbers if they all are, and the others as (N, columns - 1)."""
    try:
        table = np.loadtxt(rows, dtype=np.float64, delimiter=",", comments=None, ndmin=2)
    except ValueError:
        raise _bad_row(path, header, rows) from None
    if table.shape != (len(rows), len(header.columns)) or not np.isfinite(table).all():
        raise _bad_row(path, header, rows)
    try:
        # Floats would lose nanoseconds after 104 days of uptime.
        ticks = np.array([int(row.partition(",")[0]) for row in rows], np.int64)
    except (ValueError, OverflowError):
        return table[:, 0], table[:, 1:]
    return ticks, table[:, 1:]


def _bad_row(path: object, header: _Header, rows: list[str]) -> LogFormatError:
    """Find the first row that numpy could not take, for the message."""
    for number, row in enumerate(rows, start=header.length + 1):
        cells = row.split(",") if row.strip() else []
        if len(cells) != len(header.columns):
            expected = f"{len(header.columns)} ({','.join(header.columns)})"
            return LogFormatError(path, f"line {number}", f"{len(cells)} values", expected)
        for name, cell in zip(header.columns, cells, strict=True):
            try:
                finite = bool(np.isfinite(float(cell)))
            except ValueError:
                finite = False
            if not finite:
                place = f"line {number}, {name}"
                return LogFormatError(path, place, repr(cell.strip()[:40]), "a finite number")
    return LogFormatError(path, "rows", "numbers out of range", "64-bit numbers")


def _scaled(
    path: object, key: str, values: NDArray[np.float64], scale: float
) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        scaled = values * scale
    if not np.isfinite(scaled).all():
        raise LogFormatError(path, key, f"{scale} times a value, out of range", "finite products")
    return scaled


def _nanoseconds(
    path: object, ticks: NDArray[np.int64] | NDArray[np.float64], tick_ns: Fraction
) -> NDArray[np.int64]:
    most = Fraction(float(np.abs(ticks.astype(np.float64)).max())) * tick_ns
    if max(most, tick_ns) >= 2**63:
        raise LogFormatError(path, "t", "a time out of range", "times below 9.2e9 s")
    if tick_ns.denominator == 1 and np.issubdtype(ticks.dtype, np.integer):
        return ticks.astype(np.int64) * int(tick_ns)
    return np.rint(ticks.astype(np.float64) * float(tick_ns)).astype(np.int64)


def _require_increasing(path: object, header: _Header, t_ns: NDArray[np.int64]) -> None:
    wrong = np.flatnonzero(np.diff(t_ns) <= 0)
    if len(wrong):
        row = int(wrong[0]) + 1
        raise LogFormatError(
            path,
            f"line {header.length + 1 + row}, t",
            f"{t_ns[row]} ns after {t_ns[row - 1]} ns",
            "times that increase",
        )


def write_gcsv(
    path: str | os.PathLike[str],
    samples: ImuSamples,
    *,
    log_id: str = _OWN_ID,
    gscale: float = WT901_GSCALE_RAD_S,
    ascale: float = WT901_ASCALE_G,
    note: str = "",
) -> None:
    """Write a GCSV log; the file appears whole or not at all.

    gscale, ascale : rad/s and g a count. Values that are whole counts are written as integers,
        others as decimals of full precision; gscale=1.0 keeps every bit of any value.
    Samples without an accelerometer give the columns t,gx,gy,gz; no samples a log without rows.

    Raises LogFormatError for samples no log can hold: NaN, or times that do not increase.
    """
    _require_writable(path, samples)
    columns = [samples.t_ns.tolist()]
    columns += _counts(samples.gyro_rad_s, gscale)
    names: tuple[str, ...] = _GYRO
    if samples.has_acc:
        columns += _counts(samples.acc_g, ascale)
        names = _GYRO + _ACC
    header = [_TITLES[0], "version,1.3", f"id,{_one_field(log_id)}", "orientation,XYZ"]
    if note:
        header.append(f"note,{_one_field(note)}")
    header += ["tscale,0.000000001", f"gscale,{float(gscale)!r}"]
    if samples.has_acc:
        header.append(f"ascale,{float(ascale)!r}")
    header.append(",".join(names))
    rows = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    with whole_file(Path(path)) as file:
        file.write("\n".join([*header, *rows, ""]).encode())


def _require_writable(path: object, samples: ImuSamples) -> None:
    bad = np.flatnonzero(~np.isfinite(samples.gyro_rad_s).all(axis=1))
    if len(bad):
        raise LogFormatError(path, f"sample {bad[0]}", "NaN in the rate", "finite numbers")
    if not samples.has_acc and not np.isnan(samples.acc_g).all():
        bad = np.flatnonzero(~np.isfinite(samples.acc_g).all(axis=1))
        expected = "an accelerometer in every sample or in none"
        raise LogFormatError(path, f"sample {bad[0]}", "NaN in the acceleration", expected)
    wrong = np.flatnonzero(np.diff(samples.t_ns) <= 0)
    if len(wrong):
        raise LogFormatError(path, f"sample {wrong[0] + 1}", "a time", "times that increase")


def _counts(values: NDArray[np.float64], scale: float) -> list[list[object]]:
    """Columns of `values / scale`, integers where the values are whole counts."""
    counts = values / scale
    whole = np.rint(counts)
    if scale != 1.0 and bool((np.abs(counts - whole) < _WHOLE).all()):
        return [column.tolist() for column in whole.astype(np.int64).T]
    return [_mixed(counts[:, axis], whole[:, axis], scale) for axis in range(3)]


def _mixed(counts: NDArray[np.float64], whole: NDArray[np.float64], scale: float) -> list[object]:
    if scale == 1.0:
        return list(counts.tolist())
    is_whole = np.abs(counts - whole) < _WHOLE
    return [
        int(integer) if exact else value
        for value, integer, exact in zip(counts.tolist(), whole.tolist(), is_whole, strict=True)
    ]


def _one_field(text: str) -> str:
    """A header value in one CSV field on one line."""
    return " ".join(text.replace(",", ";").split())
