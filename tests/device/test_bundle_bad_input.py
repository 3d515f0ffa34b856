"""Bad input: one line that names file, field, what was found and what was expected."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from device.bundle import check_bundle, read_bundle
from device.errors import InputError

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def good(make_bundle: Make) -> Path:
    """One good bundle; tests damage copies of it."""
    path: Path = make_bundle()
    return path


@pytest.fixture
def bundle(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "shot.capture"))


def refused(bundle: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        check_bundle(bundle)
    message = str(caught.value)
    assert "\n" not in message
    assert ": found " in message
    assert ", expected " in message
    return caught.value


def rewrite(bundle: Path, place: str, value: object) -> None:
    """Set the key at a.b.c; DELETE removes it."""
    path = bundle / "capture.json"
    document = json.loads(path.read_text())
    _set(document, place, value)
    path.write_text(json.dumps(document))


DELETE = object()


def _set(document: Any, place: str, value: object) -> None:
    *outer, last = place.split(".")
    for key in outer:
        document = document[key]
    if value is DELETE:
        del document[last]
    else:
        document[last] = value


def not_a(*kinds: type) -> st.SearchStrategy[Any]:
    """JSON values of other kinds; True is not a number."""
    everything: dict[type, st.SearchStrategy[Any]] = {
        str: st.text(max_size=5),
        int: st.integers(),
        float: st.floats(),
        bool: st.booleans(),
        type(None): st.none(),
        list: st.lists(st.integers(), max_size=3),
        dict: st.dictionaries(st.text(), st.integers(), max_size=2),
    }
    return st.one_of(*(values for kind, values in everything.items() if kind not in kinds))


NAN = st.sampled_from([float("nan"), float("inf"), float("-inf")])
NO_COUNT = not_a(int) | st.integers(max_value=0) | st.integers(min_value=2**70)
NO_RATE = not_a(int, float) | st.floats(max_value=-1e-9) | NAN
NO_POSITIVE = not_a(int, float, type(None)) | st.floats(max_value=0) | NAN
WORDS = st.text(max_size=12)
BAD_TONES = [
    {"gamma_curve": []},
    {"gamma_curve": [[0, 0]]},
    {"gamma_curve": [[0, 0], [0.5, 0.6]]},
    {"gamma_curve": [[0, 0], [0.5, 0.6], [0.4, 0.7], [1, 1]]},
    {"gamma_curve": [[0, 1], [1, 0]]},
    {"gamma_curve": [[0, 0], [1, 2]]},
    {"gamma_curve": [[0, 0], [1, float("nan")]]},
    {"gamma_curve": [[0, 0], [1, True]]},
    {"gamma_curve": [[0, 0, 0], [1, 1, 1]]},
    {"gamma_curve": [[0, 0], [1, 1]], "more": 1},
]
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "format": not_a() | WORDS,
    "version": not_a(int) | st.integers().filter(lambda v: v != 1),
    "frame": not_a(dict),
    "frame.file": not_a(str) | st.sampled_from(
        ["", ".jpg", "..", "../x.jpg", "/etc/x.png", "frame", "frame.tiff", "a\0.jpg", "a\\b.png"]
    ),
    "frame.width": NO_COUNT,
    "frame.height": NO_COUNT,
    "frame.tone": not_a() | WORDS | st.sampled_from(BAD_TONES),
    "frame.orientation": not_a(int) | st.integers().filter(lambda v: not 1 <= v <= 8),
    "timing": not_a(dict),
    "timing.first_row_end_ns": not_a(int) | st.integers(min_value=2**63),
    "timing.exposure_ns": NO_COUNT,
    "timing.line_time_ns": NO_RATE,
    "timing.row_order": not_a() | WORDS,
    "sensor": not_a(dict),
    "sensor.model": not_a(str),
    "sensor.analogue_gain": NO_POSITIVE,
    "sensor.noise": not_a(dict, type(None)),
    "sensor.noise.shot": NO_RATE,
    "sensor.noise.read": NO_RATE,
    "scene": not_a(dict),
    "scene.depth_m": NO_POSITIVE,
    "metadata": not_a(dict),
}  # fmt: skip
MAY_BE_ABSENT = {"sensor.noise"}


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_wrong_value_names_its_key(
    good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = data.draw(st.sampled_from(sorted(WRONG)))
    document = json.loads((good / "capture.json").read_text())
    _set(document, place, data.draw(WRONG[place]))
    folder = tmp_path_factory.mktemp("bad")
    (folder / "capture.json").write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        read_bundle(folder)
    assert place in caught.value.field
    assert caught.value.file == str(folder / "capture.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", sorted(set(WRONG) - MAY_BE_ABSENT))
def test_a_missing_key_is_named(bundle: Path, place: str) -> None:
    rewrite(bundle, place, DELETE)
    error = refused(bundle)
    assert (error.field, error.found) == (place, "nothing")


def test_keys_that_may_be_absent(bundle: Path) -> None:
    rewrite(bundle, "sensor.noise", DELETE)
    assert read_bundle(bundle).noise is None


@pytest.mark.parametrize(
    ("warnings", "field"),
    [
        ("stale", "warnings"),
        (["stale"], "warnings[0]"),
        ([{"name": "stale"}], "warnings[0].detail"),
        ([{"name": "a", "detail": "b"}, {"name": 3, "detail": "c"}], "warnings[1].name"),
    ],
)
def test_warnings_edited_by_hand_are_refused(bundle: Path, warnings: object, field: str) -> None:
    rewrite(bundle, "warnings", warnings)
    assert refused(bundle).field == field


@pytest.mark.parametrize("place", ["metadata.deep", "frame.later", "future"])
def test_nan_is_refused_in_keys_nobody_knows_too(bundle: Path, place: str) -> None:
    rewrite(bundle, place, [{"a": float("nan")}])
    assert refused(bundle).field == f"{place}[0].a"


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_json_text_never_raises_anything_else(
    good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray((good / "capture.json").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(1, len(raw))) :]
    folder = tmp_path_factory.mktemp("bad")
    (folder / "capture.json").write_bytes(raw)
    with pytest.raises(InputError):  # at the latest: there is no frame in this folder
        read_bundle(folder)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{\n "format": "stillpi-capture",\n "version" 1}', "line 3 column 12"),
        ("", "line 1 column 1"),
        ("[]", "the document"),
        ("[" * 100_000, "the document"),
        ('{"a": ' + "9" * 5000 + "}", "the document"),
    ],
)
def test_text_that_is_no_json_names_the_line(bundle: Path, text: str, place: str) -> None:
    (bundle / "capture.json").write_text(text)
    assert refused(bundle).field == place


@pytest.mark.parametrize("name", ["capture.json", "camera.yaml", "imu.gcsv", "frame.jpg"])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    error = refused(bundle)
    assert error.file == str(bundle / name)
    assert error.found == "nothing"


@pytest.mark.parametrize("name", ["capture.json", "camera.yaml", "imu.gcsv", "frame.jpg"])
def test_a_folder_in_the_place_of_a_file(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    (bundle / name).mkdir()
    assert refused(bundle).file == str(bundle / name)


def test_no_bundle_there(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.capture").found == "nothing"
    (tmp_path / "file.capture").write_text("x")
    assert refused(tmp_path / "file.capture").found == "a file"


@pytest.mark.parametrize("key", ["width", "height"])
def test_a_size_that_is_not_the_pictures(bundle: Path, key: str) -> None:
    rewrite(bundle, f"frame.{key}", 100)
    error = refused(bundle)
    assert (error.file, error.found) == (str(bundle / "frame.jpg"), "64x48")


def test_a_calibration_of_another_size(bundle: Path) -> None:
    path = bundle / "camera.yaml"
    path.write_text(path.read_text().replace("[64, 48]", "[128, 96]"))
    error = refused(bundle)
    assert (error.field, error.found) == ("cam0.resolution", "128x96")


@pytest.mark.parametrize("fmt", ["jpg", "png"])
def test_a_frame_cut_anywhere_is_refused(make_bundle: Make, tmp_path: Path, fmt: str) -> None:
    bundle = make_bundle(frame_format=fmt)
    frame = bundle / f"frame.{fmt}"
    whole = frame.read_bytes()
    for length in sorted({0, 1, 7, 30, *np.linspace(40, len(whole) - 1, 40).astype(int)}):
        frame.write_bytes(whole[:length])
        assert refused(bundle).file == str(frame), length


@pytest.mark.parametrize("fmt", ["jpg", "png"])
def test_bytes_after_the_picture_do_no_harm(make_bundle: Make, fmt: str) -> None:
    bundle = make_bundle(frame_format=fmt)
    with (bundle / f"frame.{fmt}").open("ab") as file:
        file.write(b"a phone's trailer")
    assert check_bundle(bundle) == []


def test_a_thumbnails_end_is_not_the_pictures_end(make_bundle: Make, tmp_path: Path) -> None:
    # A JPEG inside the EXIF block brings its own end-of-image marker.
    inner = tmp_path / "thumb.jpg"
    Image.new("RGB", (8, 8)).save(inner)
    bundle = make_bundle(exif=b"Exif\0\0" + inner.read_bytes())
    frame = bundle / "frame.jpg"
    frame.write_bytes(frame.read_bytes()[:-200])
    assert "truncated" in str(refused(bundle))


def test_a_flipped_byte_in_a_png_is_noticed(make_bundle: Make) -> None:
    bundle = make_bundle(frame_format="png")
    raw = bytearray((bundle / "frame.png").read_bytes())
    raw[len(raw) // 2] ^= 1
    (bundle / "frame.png").write_bytes(raw)
    assert refused(bundle).file.endswith("frame.png")


def test_a_picture_of_another_kind(make_bundle: Make, bundle: Path) -> None:
    png = make_bundle(frame_format="png") / "frame.png"
    shutil.copy(png, bundle / "frame.jpg")
    assert "a JPEG picture" in str(refused(bundle))
    (bundle / "frame.jpg").write_bytes(b"not a picture at all, but long enough")
    assert "a JPEG picture" in str(refused(bundle))


def test_a_dng_needs_its_decoder_and_a_linear_tone(bundle: Path) -> None:
    (bundle / "frame.dng").write_bytes(b"II*\0" + bytes(60))
    rewrite(bundle, "frame.file", "frame.dng")
    assert refused(bundle).field == "frame.tone"
    rewrite(bundle, "frame.tone", "linear")
    assert refused(bundle).file.endswith("frame.dng")


GYRO_ROWS = [
    ("nan", "4000000000,nan,0,0,0,0,0"),
    ("infinite", "4000000000,0,inf,0,0,0,0"),
    ("text", "4000000000,0,x,0,0,0,0"),
    ("short", "4000000000,0"),
]


@pytest.mark.parametrize(("what", "row"), GYRO_ROWS)
def test_a_bad_row_in_the_log(bundle: Path, what: str, row: str) -> None:
    path = bundle / "imu.gcsv"
    lines = path.read_text().splitlines()
    first = lines.index("t,gx,gy,gz,ax,ay,az") + 1
    lines[first] = row
    path.write_text("\n".join([*lines, ""]))
    error = refused(bundle)
    assert error.file == str(path)
    assert str(first + 1) in error.field


def test_times_that_jump_back(bundle: Path) -> None:
    path = bundle / "imu.gcsv"
    lines = path.read_text().splitlines()
    lines[20], lines[21] = lines[21], lines[20]
    path.write_text("\n".join([*lines, ""]))
    assert refused(bundle).file == str(path)


def test_a_log_without_rows_is_not_mistaken_for_a_missing_sensor(bundle: Path) -> None:
    path = bundle / "imu.gcsv"
    lines = path.read_text().splitlines()
    header = lines[: lines.index("t,gx,gy,gz,ax,ay,az") + 1]
    path.write_text("\n".join([*header, ""]))
    assert refused(bundle).file == str(path)


def test_the_good_bundle_is_good(good: Path, bundle: Path) -> None:
    before = {path.name: path.read_bytes() for path in good.iterdir()}
    assert check_bundle(bundle) == []
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert copy.deepcopy(read_bundle(bundle).metadata) == read_bundle(good).metadata
