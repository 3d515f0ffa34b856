"""`stillpi demo`: everything it promises is there, and the restoration gains."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from device import cli
from device.bundle import check_bundle, read_bundle

NAMES = ("osprey", "chart")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's folder, written once for all tests."""
    folder = tmp_path_factory.mktemp("demo") / "demo-output"
    assert cli.main(["demo", "-o", str(folder)]) == 0
    return folder


def test_bundles_photographs_reports_and_page_are_there(demo: Path) -> None:
    expected = {"index.html", "before_after.png"}
    for name in NAMES:
        expected |= {f"{name}.capture", f"{name}.jpg", f"{name}.json"}
    assert {path.name for path in demo.iterdir()} == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_bundles_are_sound(demo: Path, name: str) -> None:
    assert all("still moment" in warning for warning in check_bundle(demo / f"{name}.capture"))
    report = json.loads((demo / f"{name}.json").read_text())
    assert report["motion"]["blur_px_median"] > 5


def test_the_shaken_photograph_becomes_better(demo: Path) -> None:
    page = (demo / "index.html").read_text(encoding="utf-8")
    gain = re.search(r"([+-]\d+\.\d+) dB</td>", page)
    assert gain is not None
    assert float(gain[1]) > 1.0


def test_the_sensor_lost_nothing_on_its_line(demo: Path) -> None:
    bundle = read_bundle(demo / "osprey.capture")
    coverage = bundle.imu_coverage()
    assert coverage.covers
    assert coverage.interval_s == pytest.approx(0.005, rel=0.02)
    names = {warning.name for warning in bundle.warnings}
    assert not names & {"no-imu", "imu-short", "imu-gap", "gyro-dead-band", "stale-frame"}


def test_the_page_needs_no_network(demo: Path) -> None:
    page = (demo / "index.html").read_text(encoding="utf-8")
    for address in re.findall(r'src="([^"]{0,40})', page):
        assert address.startswith("data:image/")
    assert "<link" not in page
    assert "@import" not in page


def test_the_authors_are_named(demo: Path) -> None:
    page = (demo / "index.html").read_text(encoding="utf-8")
    assert "Vladislav Antonov" in page
    assert "TUM VI" in page
    assert "CC BY 4.0" in page


def test_the_readme_picture_shows_both(demo: Path) -> None:
    with Image.open(demo / "before_after.png") as picture:
        assert picture.size == (1126, 420)


def test_a_second_run_replaces_its_own_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "osprey.capture").mkdir()
    (tmp_path / "osprey.capture" / "notes.txt").write_text("mine")
    assert cli.main(["demo", "-o", str(tmp_path)]) == 2
    assert "something else of that name" in capsys.readouterr().err
    assert (tmp_path / "osprey.capture" / "notes.txt").read_text() == "mine"
