from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from device.bundle import read_bundle
from device.capture import open as opening
from device.commands import shoot
from device.config import load_config
from device.errors import InputError, StillpiError

TWIN: dict[str, Any] = {"kind": "twin", "size": [160, 120], "exposure_s": 0.02}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "READY_SAMPLES", 100)
    monkeypatch.setattr(opening, "READY_TIMEOUT_S", 1.0)


def configured(tmp_path: Path, **sections: Any) -> Path:
    path = tmp_path / "stillpi.yaml"
    output = {"folder": "photos", **sections.pop("output", {})}
    path.write_text(
        yaml.safe_dump({"camera": TWIN, "imu": {"kind": "none"}, "output": output, **sections})
    )
    return path


def stillpi(*words: object) -> int:
    parser = argparse.ArgumentParser()
    shoot.add_parser(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["shoot", *map(str, words)])
    return int(arguments.run(arguments))


def test_simulated_from_shutter_to_picture(tmp_path: Path, capsys) -> None:
    config = configured(tmp_path, imu={"kind": "emulator"}, restoration={"model": "none"})
    assert stillpi("-c", config) == 0
    photos = tmp_path / "photos"
    assert sorted(path.name for path in photos.iterdir()) == [
        "IMG_0001.capture",
        "IMG_0001.jpg",
        "IMG_0001.json",
    ]
    report = json.loads((photos / "IMG_0001.json").read_text())
    assert report["motion"]["gyro_rate_hz"] == pytest.approx(200, rel=0.01)
    assert report["motion"]["bias_source"] in ("calibration", "still")
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{photos / 'IMG_0001.capture'}: taken")
    assert last.startswith(f"{photos / 'IMG_0001.jpg'}: blur ")


def test_without_motion_the_photograph_is_delivered_as_taken(tmp_path: Path, capsys) -> None:
    config = configured(tmp_path, output={"format": "png", "bundle_format": "png"})
    assert stillpi("-c", config, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [warning["name"] for warning in report["warnings"]] == ["no-imu", "not-restored"]
    assert report["output"] == str(tmp_path / "photos" / "IMG_0001.png")
    from device.capture.scene import read_photograph

    taken = read_bundle(report["bundle"]).read_pixels()
    assert (read_photograph(Path(report["output"])) == taken).all()
    assert json.loads(Path(report["output"]).with_suffix(".json").read_text()) == report


def test_the_bundle_is_there_before_anything_is_restored(tmp_path: Path, monkeypatch) -> None:
    def fails(*_: object, **__: object) -> None:
        assert read_bundle(tmp_path / "photos" / "IMG_0001.capture").width == 160
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shoot, "restore_or_keep", fails)
    with pytest.raises(OSError, match="No space"):
        stillpi("-c", configured(tmp_path))
    assert (tmp_path / "photos" / "IMG_0001.capture").is_dir()


def test_a_motion_nothing_can_be_made_of_costs_only_the_restoration(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise InputError("imu.gcsv", "t", "a gap in every row's exposure", "samples")

    monkeypatch.setattr(shoot, "restore_to_file", refuses)
    config = configured(tmp_path, imu={"kind": "emulator"})
    assert stillpi("-c", config, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert "gap in every row" in report["warnings"][-1]["detail"]


def test_names(tmp_path: Path) -> None:
    config = load_config(configured(tmp_path))
    photos = tmp_path / "photos"
    assert shoot.plan_names(config, None) == (
        photos / "IMG_0001.capture",
        photos / "IMG_0001.jpg",
    )
    (tmp_path / "IMG_0041.capture").mkdir()
    assert shoot.plan_names(config, tmp_path)[1] == tmp_path / "IMG_0042.jpg"
    cat = tmp_path / "cat.png"
    assert shoot.plan_names(config, cat) == (tmp_path / "cat.capture", cat)
    (tmp_path / "cat.capture").mkdir()
    with pytest.raises(InputError, match=r"cat\.capture: output: found a bundle of that name"):
        shoot.plan_names(config, cat)


def test_every_mistake_in_the_configuration_on_a_line_of_its_own(tmp_path: Path, capsys) -> None:
    path = tmp_path / "stillpi.yaml"
    path.write_text("camera:\n  kind: twin\n  sead: 1\nimu:\n  kind: usb\n")
    assert stillpi("-c", path) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"stillpi: {path}:3: camera.sead: found 1, expected seed?")
    assert lines[1].startswith(f"stillpi: {path}:5: imu.kind: found 'usb'")


def test_no_configuration_says_what_to_do(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("device.config.DEFAULT_PATH", tmp_path / "stillpi.yaml")
    with pytest.raises(StillpiError, match="--simulate"):
        stillpi()


def test_one_or_the_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--simulate"):
        stillpi("--simulate", "-c", configured(tmp_path))


def test_a_camera_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    config = configured(tmp_path, camera={"kind": "replay", "folder": "none"})
    with pytest.raises(StillpiError, match="no bundles to replay"):
        stillpi("-c", config)
    assert list((tmp_path / "photos").iterdir()) == []
