"""`stillpi deblur`: photographs and reports where they belong, errors as one line each."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_bundles import crashing_network, good_bundle, good_network, replace_file
from PIL import ExifTags, Image

from device import cli
from device.commands.deblur import plan_jobs
from device.errors import InputError
from device.restore import golden

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def good(make_bundle: Make) -> Path:
    """One good bundle; tests read it or copy it."""
    return make_bundle()


@pytest.fixture
def bundles(good: Path, tmp_path: Path) -> list[Path]:
    """Two good bundles and, between them, one whose photograph is cut off."""
    paths = [tmp_path / f"{name}.capture" for name in ("one", "cut", "two")]
    for path in paths:
        shutil.copytree(good, path)
    frame = paths[1] / "frame.jpg"
    frame.write_bytes(frame.read_bytes()[:-200])
    return paths


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def deblur(*arguments: object) -> int:
    return cli.main(["deblur", *map(str, arguments)])


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_one_bundle_becomes_the_named_photograph(
    good: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(good)
    target = tmp_path / "new folder" / f"photo.{suffix}"
    assert deblur(good, "-o", target) == 0
    assert sorted(path.name for path in target.parent.iterdir()) == sorted(
        [target.name, "photo.json"]
    )
    with Image.open(target) as image:
        assert image.format == {"jpg": "JPEG", "png": "PNG"}[suffix]
        assert image.getexif()[ExifTags.Base.Orientation] == 6
    assert digests(good) == before
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{target}: blur ")
    assert printed.err == ""


def test_the_report_beside_it_says_what_was_done(good: Path, tmp_path: Path) -> None:
    assert deblur(good, "-o", tmp_path / "photo.jpg") == 0
    report = json.loads((tmp_path / "photo.json").read_text())
    assert report["format"] == "stillpi-report"
    assert report["software"].startswith("stillpi")
    assert report["output"] == str(tmp_path / "photo.jpg")
    assert 0 < report["motion"]["blur_px_median"] <= report["motion"]["blur_px_max"]
    assert 0 <= report["guard"]["trusted_share"] <= 1
    assert {"motion", "decode", "filter", "guard", "write"} <= set(report["stages_s"])


def test_without_a_default_model_the_report_says_so(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device.commands.restoring.MODELS", tmp_path / "absent")
    assert deblur(good, "-o", tmp_path / "photo.jpg") == 0
    report = json.loads((tmp_path / "photo.json").read_text())
    assert report["model"] is None
    assert "the default model does not run here" in report["model_note"]
    assert report["warnings"][-1]["name"] == "model-failed"


def test_a_model_of_ones_own_is_used_and_named(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = good_bundle(tmp_path / "model")
    assert deblur(good, "-o", tmp_path / "photo.jpg", "--model", folder) == 0
    report = json.loads((tmp_path / "photo.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert report["model"] == {"name": "tiny", "sha256": manifest["model"]["sha256"]}
    assert report["model_note"] == ""
    assert capsys.readouterr().err == ""


def test_a_reproducible_photograph_is_made_by_the_first_network(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = good_bundle(tmp_path / "model", float32=good_network(0.2501))
    # As if the self-test had found the other one clearly faster here.
    monkeypatch.setattr(golden, "_remembered", lambda *_: "model_fp32.onnx")
    networks = json.loads((folder / "manifest.json").read_text())
    reports = []
    for options in ([], ["--reproducible"]):
        assert deblur(good, "-o", tmp_path / "photo.jpg", "--model", folder, *options) == 0
        reports.append(json.loads((tmp_path / "photo.json").read_text()))
    assert [report["reproducible"] for report in reports] == [False, True]
    ran = [report["model"]["sha256"] for report in reports]
    assert ran == [networks["alternatives"][0]["sha256"], networks["model"]["sha256"]]


FAILING = [
    pytest.param(good_network(0.5), "differs by", id="a result that differs"),
    pytest.param(
        crashing_network(),
        "found a crash by SIGFPE",
        id="a crash",
        marks=pytest.mark.skipif(
            platform.machine() not in ("x86_64", "AMD64"), reason="only x86 traps on this division"
        ),
    ),
]


@pytest.mark.parametrize(("network", "found"), FAILING)
def test_a_named_model_that_fails_its_self_test_is_an_error(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], network: bytes, found: str
) -> None:
    folder = replace_file(good_bundle(tmp_path / "model"), "model.onnx", network)
    assert deblur(good, "-o", tmp_path / "photo.jpg", "--model", folder) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"stillpi: {folder}")
    assert ": self-test: found " in line
    assert found in line
    assert not (tmp_path / "photo.jpg").exists()


@pytest.mark.parametrize(("network", "found"), FAILING)
def test_a_default_model_that_fails_its_self_test_costs_the_network_alone(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, network: bytes, found: str,
) -> None:  # fmt: skip
    folder = replace_file(good_bundle(tmp_path / "default"), "model.onnx", network)
    monkeypatch.setattr("device.commands.restoring.MODELS", folder.parent)
    assert deblur(good, "-o", tmp_path / "photo.jpg") == 0
    assert deblur(good, "-o", tmp_path / "filtered.jpg", "--model", "none") == 0
    assert (tmp_path / "photo.jpg").read_bytes() == (tmp_path / "filtered.jpg").read_bytes()
    report = json.loads((tmp_path / "photo.json").read_text())
    assert report["model"] is None
    assert report["model_note"] == (
        "the default model does not run here: the result is the filter's"
    )
    warning = report["warnings"][-1]
    assert warning["name"] == "model-failed"
    assert found in warning["detail"]
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        f"stillpi: warning: {report['model_note']}: {warning['detail']}"
    ]
    assert "warning: model-failed" in printed.out


def test_the_good_ones_are_done_and_the_exit_code_tells(
    bundles: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "restored"
    assert deblur(*bundles, "-o", folder) == 2
    assert sorted(path.name for path in folder.iterdir()) == [
        "one.jpg",
        "one.json",
        "two.jpg",
        "two.json",
    ]
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith(f"stillpi: {bundles[1] / 'frame.jpg'}: ")
    assert ": found " in line
    assert ", expected " in line
    assert len(printed.out.splitlines()) == 2


def test_json_is_one_object_with_every_result(
    bundles: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deblur(*bundles, "-o", tmp_path / "restored", "--json") == 2
    results: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["results"]
    assert [result["bundle"] for result in results] == [str(path) for path in bundles]
    assert ["error" in result for result in results] == [False, True, False]
    assert results[0] == json.loads((tmp_path / "restored" / "one.json").read_text())


@pytest.mark.parametrize(
    ("names", "output", "expected"),
    [
        (["a.capture"], "x.jpg", ["x.jpg"]),
        (["a.capture"], "x.PNG", ["x.PNG"]),
        (["a.capture"], "folder", ["folder/a.jpg"]),
        (["a.capture", "b"], "folder", ["folder/a.jpg", "folder/b.jpg"]),
        (["a.capture", "b"], "v1.2", ["v1.2/a.jpg", "v1.2/b.jpg"]),
    ],
)
def test_where_photographs_go(names: list[str], output: str, expected: list[str]) -> None:
    jobs = plan_jobs([Path(name) for name in names], Path(output))
    assert [target for _, target in jobs] == [Path(name) for name in expected]


@pytest.mark.parametrize(
    ("names", "output", "field"),
    [(["a.capture"], "x.tif", "suffix"), (["a.capture", "b.capture"], "x.jpg", "output")],
)
def test_names_that_fit_nothing_are_refused(names: list[str], output: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        plan_jobs([Path(name) for name in names], Path(output))
    assert caught.value.field == field


def test_two_bundles_of_one_name_do_not_overwrite_each_other(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / folder / "shot.capture" for folder in ("monday", "tuesday")]
    for path in paths:
        shutil.copytree(good, path)
    assert deblur(*paths, "-o", tmp_path / "restored") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "shot.jpg: output: found" in line
    report = json.loads((tmp_path / "restored" / "shot.json").read_text())
    assert report["bundle"] == str(paths[0])


def test_nothing_is_written_into_a_bundle(
    bundles: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(bundles[0])
    assert deblur(bundles[0], "-o", bundles[0] / "photo.jpg") == 2
    assert digests(bundles[0]) == before
    assert "inside the bundle" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_one_line(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert deblur(good, "-o", tmp_path / "file" / "photo.jpg") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"stillpi: {tmp_path / 'file'}: File exists"


def test_a_missing_model_is_one_line_and_nothing_is_done(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "photo.jpg"
    assert deblur(good, "-o", target, "--model", tmp_path / "absent") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "absent") in line
    assert not target.exists()


def test_a_log_that_misses_the_exposure_is_one_line(
    make_bundle: Make, make_samples: Callable[..., Any], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    bundle = make_bundle(samples=make_samples(5.5, 6.0))
    assert deblur(bundle, "-o", tmp_path / "photo.jpg") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "imu.gcsv" in line
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_half_written(good: Path, tmp_path: Path) -> None:
    program = (
        "import resource, sys; from device import cli\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); sys.exit(cli.main(sys.argv[1:]))"
    )
    target = tmp_path / "photo.jpg"
    done = subprocess.run(
        [sys.executable, "-c", program, "deblur", str(good), "-o", str(target)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"stillpi: {target}: File too large\n"
    assert list(tmp_path.iterdir()) == []
