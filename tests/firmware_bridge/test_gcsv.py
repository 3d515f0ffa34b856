"""The log format: what Gyroflow documents, exact integers, whole files, clear errors."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from firmware_bridge.errors import LogFormatError
from firmware_bridge.gcsv import WT901_ASCALE_G, WT901_GSCALE_RAD_S, read_gcsv, write_gcsv
from firmware_bridge.samples import ImuSamples

DOCUMENTED = """GYROFLOW IMU LOG
version,1.3
id,custom_logger_name
orientation,YxZ
note,development_test
fwversion,FIRMWARE_0.1.0
timestamp,1644159993
vendor,potatocam
videofilename,videofilename.mp4
lensprofile,potatocam/potatocam_mark1_prime_7_5mm_4k
lens_info,wide
frame_readout_time,15.23
frame_readout_direction,0
tscale,0.001
gscale,0.00122173047
ascale,0.00048828125
t,gx,gy,gz,ax,ay,az
0,39,86,183,-1137,-15689,-2986
1,56,100,202,-1179,-15694,-2887
2,63,108,218,-1247,-15702,-2794
"""
SMALL = """GYROFLOW IMU LOG
version,1.3
id,other
orientation,XYZ
tscale,0.001
gscale,1.0
ascale,1.0
t,gx,gy,gz,ax,ay,az
0,1,2,3,4,5,6
1,1,2,3,4,5,6
"""

same_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, derandomize=True
)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "imu.gcsv"
    path.write_text(text, encoding="utf-8")
    return path


def counts(seed: int, number: int) -> ImuSamples:
    """Samples whose values are the sensor's integers."""
    rng = np.random.default_rng(seed)
    gyro = rng.integers(-32768, 32768, (number, 3)) * WT901_GSCALE_RAD_S
    acc = rng.integers(-32768, 32768, (number, 3)) * WT901_ASCALE_G
    # Four years of uptime: more nanoseconds than a float can tell apart.
    t_ns = 126_144_000_000_000_001 + 5_000_000 * np.arange(number, dtype=np.int64)
    return ImuSamples(t_ns, gyro.astype(np.float64), acc.astype(np.float64))


def assert_same(got: ImuSamples, expected: ImuSamples) -> None:
    np.testing.assert_array_equal(got.t_ns, expected.t_ns)
    np.testing.assert_array_equal(got.gyro_rad_s, expected.gyro_rad_s)
    np.testing.assert_array_equal(got.acc_g, expected.acc_g)


def test_the_documented_example(tmp_path: Path) -> None:
    samples = read_gcsv(write(tmp_path, DOCUMENTED))
    np.testing.assert_array_equal(samples.t_ns, [0, 1_000_000, 2_000_000])
    # YxZ: x of the sensor is the logged y, y is the logged x turned round.
    np.testing.assert_allclose(samples.gyro_rad_s[0], np.array([86, -39, 183]) * 0.00122173047)
    np.testing.assert_allclose(samples.acc_g[0], np.array([-15689, 1137, -2986]) * 0.00048828125)


def test_magnetometer_and_neutral_title(tmp_path: Path) -> None:
    text = SMALL.replace("GYROFLOW", "CAMERA").replace("az\n", "az,mx,my,mz\n")
    text = text.replace("4,5,6\n", "4,5,6,7,8,9\n").replace("ascale", "mscale,2\nascale")
    samples = read_gcsv(write(tmp_path, text))
    np.testing.assert_array_equal(samples.acc_g, [[4, 5, 6]] * 2)


def test_a_log_with_a_gyroscope_only(tmp_path: Path) -> None:
    text = SMALL.replace(",ax,ay,az", "").replace(",4,5,6", "").replace("ascale,1.0\n", "")
    samples = read_gcsv(write(tmp_path, text))
    assert not samples.has_acc
    assert np.isnan(samples.acc_g).all()
    again = tmp_path / "again.gcsv"
    write_gcsv(again, samples)
    assert "t,gx,gy,gz\n" in again.read_text()
    assert "ascale" not in again.read_text()
    assert_same(read_gcsv(again), samples)


@pytest.mark.parametrize(
    "orientation",
    [
        "".join(
            letter.upper() if sign else letter for letter, sign in zip(order, signs, strict=True)
        )
        for order in permutations("xyz")
        for signs in product((True, False), repeat=3)
    ],
)
def test_orientations_permute_and_flip(tmp_path: Path, orientation: str) -> None:
    samples = read_gcsv(write(tmp_path, SMALL.replace("XYZ", orientation)))
    logged = {"X": 1.0, "Y": 2.0, "Z": 3.0, "x": -1.0, "y": -2.0, "z": -3.0}
    expected = np.array([logged[letter] for letter in orientation])
    np.testing.assert_array_equal(samples.gyro_rad_s[0], expected)
    np.testing.assert_array_equal(samples.acc_g[0], expected + 3 * np.sign(expected))


@pytest.mark.parametrize(
    ("tscale", "ticks", "t_ns"),
    [
        ("0.000000001", "9007199254740993", 9_007_199_254_740_993),
        ("1e-6", "123456789", 123_456_789_000),
        ("0.001", "0.5", 500_000),
        ("1", "1.25", 1_250_000_000),
        ("0.0333", "10", 333_000_000),
    ],
)
def test_times(tmp_path: Path, tscale: str, ticks: str, t_ns: int) -> None:
    text = SMALL.replace("tscale,0.001", f"tscale,{tscale}").replace("\n0,1,2,3,4,5,6", "")
    text = text.replace("\n1,1,2,3", f"\n{ticks},1,2,3")
    assert read_gcsv(write(tmp_path, text)).t_ns.tolist() == [t_ns]


def test_the_sensors_integers_are_kept(tmp_path: Path) -> None:
    samples = counts(0, 500)
    path = tmp_path / "imu.gcsv"
    write_gcsv(path, samples, note="one, two\nthree")
    text = path.read_text()
    assert "note,one; two three\n" in text
    rows = text.split("t,gx,gy,gz,ax,ay,az\n")[1].splitlines()
    row = [int(cell) for cell in rows[7].split(",")]
    assert row[1:4] == np.rint(samples.gyro_rad_s[7] / WT901_GSCALE_RAD_S).tolist()
    assert row[4:7] == np.rint(samples.acc_g[7] / WT901_ASCALE_G).tolist()
    assert_same(read_gcsv(path), samples)


@same_folder
@given(st.data())
def test_floats_are_kept_bit_by_bit(tmp_path: Path, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 8))
    steps = data.draw(npst.arrays(np.int64, number, elements=st.integers(1, 2**40)))
    values = st.floats(-1e6, 1e6, allow_subnormal=False)
    gyro, acc = (data.draw(npst.arrays(np.float64, (number, 3), elements=values)) for _ in "ga")
    samples = ImuSamples(np.cumsum(steps) - 2**41, gyro, acc)
    write_gcsv(tmp_path / "imu.gcsv", samples, gscale=1.0, ascale=1.0)
    assert_same(read_gcsv(tmp_path / "imu.gcsv"), samples)


@same_folder
@given(npst.arrays(np.float64, (4, 3), elements=st.floats(-40, 40, allow_subnormal=False)))
def test_values_between_counts_are_not_rounded_to_counts(
    tmp_path: Path, gyro: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> None:
    samples = ImuSamples(np.arange(4, dtype=np.int64), gyro, np.full((4, 3), np.nan))
    write_gcsv(tmp_path / "imu.gcsv", samples)
    got = read_gcsv(tmp_path / "imu.gcsv").gyro_rad_s
    np.testing.assert_allclose(got, gyro, rtol=1e-15, atol=2e-9)


def test_no_samples_make_a_log_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "imu.gcsv"
    write_gcsv(path, ImuSamples.empty())
    assert path.read_text().endswith("\nt,gx,gy,gz\n")
    assert len(read_gcsv(path)) == 0


def test_a_long_log(tmp_path: Path) -> None:
    samples = counts(1, 100_000)
    write_gcsv(tmp_path / "imu.gcsv", samples)
    assert_same(read_gcsv(tmp_path / "imu.gcsv"), samples)


def test_windows_lines_blanks_and_a_missing_last_newline(tmp_path: Path) -> None:
    expected = read_gcsv(write(tmp_path, SMALL))
    variants = [
        SMALL.replace("\n", "\r\n"),
        SMALL + "\n\n",
        SMALL.rstrip("\n"),
        "\ufeff" + SMALL,
        SMALL.replace(",", ", ").replace("t, gx", "time, gx"),
    ]
    for text in variants:
        path = tmp_path / "other.gcsv"
        path.write_bytes(text.encode())
        assert_same(read_gcsv(path), expected)


BAD = {
    "empty": ("", "size: found 0 bytes"),
    "other file": ("a,b\n1,2\n", "line 1: found 'a,b', expected 'GYROFLOW IMU LOG'"),
    "cut header": (SMALL[:60], "line 5: found no column names"),
    "no tscale": (SMALL.replace("tscale,0.001\n", ""), "tscale: found nothing in the header"),
    "no gscale": (SMALL.replace("gscale,1.0\n", ""), "gscale: found nothing in the header"),
    "no ascale": (SMALL.replace("ascale,1.0\n", ""), "ascale: found nothing in the header"),
    "no orientation": (SMALL.replace("orientation,XYZ\n", ""), "orientation: found nothing"),
    "bad orientation": (SMALL.replace("XYZ", "XXZ"), "line 4, orientation: found 'XXZ'"),
    "zero scale": (SMALL.replace("gscale,1.0", "gscale,0"), "line 6, gscale: found '0'"),
    "text scale": (SMALL.replace("gscale,1.0", "gscale,abc"), "line 6, gscale: found 'abc'"),
    "nan scale": (SMALL.replace("tscale,0.001", "tscale,nan"), "line 5, tscale: found 'nan'"),
    "huge scale": (SMALL.replace("tscale,0.001", "tscale,1e300"), "t: found a time out of range"),
    "huge values": (
        SMALL.replace("gscale,1.0", "gscale,1e308").replace("0,1,2", "0,1e10,2"),
        "gscale: found 1e[+]308 times a value, out of range",
    ),
    "missing columns": (SMALL.replace(",ay,az", ""), "line 8: found 't,gx,gy,gz,ax', expected"),
    "wrong order": (SMALL.replace("gx,gy", "gy,gx"), "line 8: found 't,gy,gx,gz"),
    "nan": (SMALL.replace("1,1,2,3", "1,1,nan,3"), "line 10, gy: found 'nan'"),
    "infinite": (SMALL.replace("1,1,2,3,4", "1,1,2,3,-inf"), "line 10, ax: found '-inf'"),
    "nan time": (SMALL.replace("\n1,1", "\nnan,1"), "line 10, t: found 'nan'"),
    "text": (SMALL.replace("1,1,2,3", "1,1,x2,3"), "line 10, gy: found 'x2'"),
    "nothing": (SMALL.replace("1,1,2,3", "1,1,,3"), "line 10, gy: found ''"),
    "short row": (SMALL[:-5], r"line 10: found 5 values, expected 7 \(t,gx,"),
    "long row": (SMALL[:-1] + ",7\n", "line 10: found 8 values"),
    "blank row": (SMALL.replace("\n1,1", "\n\n1,1"), "line 10: found 0 values"),
    "same time": (SMALL.replace("\n1,1", "\n0,1"), "line 10, t: found 0 ns after 0 ns"),
    "time back": (SMALL.replace("\n1,1", "\n-5,1"), "line 10, t: found -5000000 ns after 0 ns"),
    "time beyond 64 bits": (SMALL.replace("\n1,1", "\n99999999999999999999,1"), "t: found a time"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_logs_name_file_place_found_and_expected(
    tmp_path: Path, text: str, message: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(LogFormatError, match=message) as caught:
        read_gcsv(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "imu.gcsv"
    path.write_bytes(SMALL.encode() + b"\xff\xfe\n")
    with pytest.raises(LogFormatError, match="line 11: found bytes that are not text"):
        read_gcsv(path)


@pytest.fixture(scope="module")
def own_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "imu.gcsv"
    write_gcsv(path, counts(2, 20))
    return path


@same_folder
@given(st.data())
def test_a_cut_log_of_ours_is_refused_or_a_whole_part(
    tmp_path: Path, own_log: Path, data: st.DataObject
) -> None:
    content = own_log.read_bytes()
    whole = read_gcsv(own_log)
    part = tmp_path / "part.gcsv"
    part.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    try:
        got = read_gcsv(part)
    except LogFormatError:
        return
    assert part.read_bytes().endswith(b"\n")
    np.testing.assert_array_equal(got.gyro_rad_s, whole.gyro_rad_s[: len(got)])


@same_folder
@given(content=st.binary(max_size=200), keep=st.integers(0, len(DOCUMENTED)))
def test_any_damage_gives_samples_or_the_one_error(
    tmp_path: Path, content: bytes, keep: int
) -> None:
    path = tmp_path / "imu.gcsv"
    path.write_bytes(DOCUMENTED[:keep].encode() + content + DOCUMENTED[keep:].encode())
    try:
        samples = read_gcsv(path)
    except LogFormatError:
        return
    assert np.isfinite(samples.gyro_rad_s).all()
    assert (np.diff(samples.t_ns) > 0).all()


@pytest.mark.parametrize("fault", ["gyro", "acc", "time"])
def test_nothing_is_written_for_samples_no_log_can_hold(tmp_path: Path, fault: str) -> None:
    samples = counts(3, 5)
    if fault == "gyro":
        samples.gyro_rad_s[3, 1] = np.nan
    elif fault == "acc":
        samples.acc_g[3, 1] = np.nan
    else:
        samples.t_ns[3] = samples.t_ns[2]
    with pytest.raises(LogFormatError, match="sample 3"):
        write_gcsv(tmp_path / "imu.gcsv", samples)
    assert list(tmp_path.iterdir()) == []


def test_writing_replaces_a_log_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "imu.gcsv"
    write_gcsv(path, counts(4, 5))
    before = path.read_bytes()
    broken = counts(5, 5)
    broken.gyro_rad_s[0, 0] = np.inf
    with pytest.raises(LogFormatError):
        write_gcsv(path, broken)
    assert path.read_bytes() == before
    write_gcsv(path, counts(6, 7))
    assert len(read_gcsv(path)) == 7
    assert [entry.name for entry in tmp_path.iterdir()] == ["imu.gcsv"]
    with pytest.raises(FileNotFoundError):
        write_gcsv(tmp_path / "missing" / "imu.gcsv", counts(4, 5))
