"""`stillpi check` and `stillpi import` as a user calls them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_bundles import good_bundle, good_network, replace_file

from device.commands import check, import_
from device.errors import InputError
from device.notices import Notice

Make = Callable[..., Any]


def call(*words: object) -> int:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    check.add_parser(commands)
    import_.add_parser(commands)
    args = parser.parse_args([str(word) for word in words])
    code = args.run(args)
    assert isinstance(code, int)
    return code


def test_good_bundles(make_bundle: Make, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = make_bundle(), make_bundle()
    assert call("check", first, second) == 0
    assert capsys.readouterr() == (f"{first}: OK\n{second}: OK\n", "")


def test_one_bad_among_good(make_bundle: Make, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = make_bundle(), make_bundle()
    (bad / "imu.gcsv").write_text("nothing")
    assert call("check", bad, good) == 2
    out, err = capsys.readouterr()
    assert out == f"{good}: OK\n"
    assert err.startswith(f"stillpi: {bad / 'imu.gcsv'}: ")
    assert err.count("\n") == 1


def test_a_log_that_misses_the_exposure_is_an_error(
    make_bundle: Make, make_samples: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("check", make_bundle(samples=make_samples(7.0, 8.0))) == 2
    assert "too late" in capsys.readouterr().err


def test_warnings_do_not_fail(make_bundle: Make, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = make_bundle(warnings=[Notice("stale-frame", "by 33 ms")])
    assert call("check", bundle) == 0
    assert capsys.readouterr().out == f"{bundle}: warning: stale-frame: by 33 ms\n"


def test_a_model_is_self_tested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = good_bundle(tmp_path / "model")
    assert call("check", "--model", folder) == 0
    line = rf"{folder}: OK, model\.onnx differs by at most 0\.\d+ of 255 codes, \d+ ms a tile\n"
    assert re.fullmatch(line, capsys.readouterr().out)
    replace_file(folder, "model.onnx", good_network(0.5))
    assert call("check", "--model", folder) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"stillpi: {folder}/model.onnx: self-test: found ")
    assert err.count("\n") == 1


def test_a_model_and_a_photograph(
    make_bundle: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle()
    assert call("check", bundle, "--model", tmp_path / "absent") == 2
    out, err = capsys.readouterr()
    assert out == f"{bundle}: OK\n"
    assert f"{tmp_path}/absent/manifest.json: found No such file" in err


def test_nothing_to_check_is_an_error() -> None:
    with pytest.raises(InputError, match="expected a bundle, or --model FOLDER"):
        call("check")


def test_import_prints_what_it_made(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shared_data / "gyro_blur" / "galaxy_nexus_chart"
    assert call("import", "nexus", source, tmp_path) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'chart.capture'}\n"
    assert call("check", tmp_path / "chart.capture") == 0
    with pytest.raises(InputError, match="one that exists"):
        call("import", "nexus", source, tmp_path)


def test_an_unknown_format_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        call("import", "floppy", tmp_path, tmp_path)
    assert caught.value.code == 2
