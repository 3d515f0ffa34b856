"""The models that ship: sound, licensed, small, used without being asked, and worth its time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from device.bundle import Bundle, read_bundle
from device.commands.restoring import choose_model
from device.demo.pictures import psnr_db
from device.demo.twin_shot import TwinShot, take_twin_photo
from device.restore.network import MANIFEST
from device.restore.pipeline import restore
from device.shipped_models import MODELS, SHIPPED_MODELS

PERMISSIVE = ("CC0-1.0", "CC-BY-4.0", "MIT", '"You are free to use')


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> TwinShot:
    """A simulated photograph, of a picture no network was trained on, and its truth."""
    return take_twin_photo(tmp_path_factory.mktemp("shot") / "osprey.capture")


@pytest.fixture(scope="module")
def bundle(shot: TwinShot) -> Bundle:
    return read_bundle(shot.bundle)


def gain_db(bundle: Bundle, shot: TwinShot, model: str) -> float:
    restored = restore(bundle, model=choose_model(model)).pixels
    return psnr_db(restored, shot.truth) - psnr_db(bundle.read_pixels(), shot.truth)


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_what_it_was_trained_on_is_listed_with_permissive_licences(name: str) -> None:
    manifest = json.loads((MODELS / name / MANIFEST).read_text(encoding="utf-8"))
    data = manifest["training"]["data"]
    assert len(data) >= 2
    assert all(entry["licence"].startswith(PERMISSIVE) for entry in data)
    trained = set(manifest["training"]["checkpoint"]["photographs"])
    listed = [name for entry in data for key in ("files", "credits")
              if not isinstance(names := entry.get(key, []), str) for name in names]  # fmt: skip
    assert trained == set(listed)
    assert "perched-osprey.jpg" not in trained
    assert manifest["metrics"]["command"].startswith("stillpi-train evaluate")


@pytest.mark.parametrize("network", sorted(MODELS.glob("*/*.onnx")), ids=lambda p: p.name)
def test_no_folder_of_who_built_it_is_told(network: Path) -> None:
    assert b'.py", line' not in network.read_bytes()


@pytest.mark.parametrize(("name", "most_bytes"), [("default", 3e6), ("small", 1.5e6)])
def test_it_is_small(name: str, most_bytes: float) -> None:
    assert sum(path.stat().st_size for path in (MODELS / name).iterdir()) < most_bytes


@pytest.mark.parametrize(("name", "least_db"), [("default", 1.0), ("small", 0.7)])
def test_it_gains_over_the_filter(
    bundle: Bundle, shot: TwinShot, name: str, least_db: float
) -> None:
    assert gain_db(bundle, shot, name) > gain_db(bundle, shot, "none") + least_db


@pytest.mark.parametrize("factor", [0.0, -1.0])
def test_a_dead_or_backward_gyroscope_spoils_nothing(
    bundle: Bundle, shot: TwinShot, factor: float
) -> None:
    wrong = replace(bundle.samples, gyro_rad_s=factor * bundle.samples.gyro_rad_s)
    assert gain_db(replace(bundle, samples=wrong), shot, "default") > -0.2


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_its_log_is_kept(name: str) -> None:
    manifest = json.loads((MODELS / name / MANIFEST).read_text(encoding="utf-8"))
    log = Path(__file__).parents[2] / manifest["training"]["log"]
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps[-1] == manifest["training"]["step"]
