from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.errors import InputError
from device.restore.tone import from_linear
from host_training.cli import main
from host_training.methods import open_methods
from host_training.metrics import psnr_db
from host_training.photos import is_held_back
from host_training.seed_protocol import (
    BLURRED,
    LENGTH_PX,
    PROTOCOL,
    SmearedCrops,
    judge,
    margin_px,
    read_result,
    smear,
    split_library,
    write_validation,
)


@pytest.fixture(scope="module")
def sharp_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs for training and one that is held back."""
    folder = tmp_path_factory.mktemp("sharp")
    rng = np.random.default_rng(9)
    names = [folder / f"{number}.png" for number in range(100)]
    free = [path for path in names if not is_held_back(path)][:2]
    for path in [*free, next(path for path in names if is_held_back(path))]:
        coarse = rng.integers(20, 236, (100, 110, 3), np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (352, 320), interpolation=cv2.INTER_CUBIC))
    return folder


def test_a_smear_is_the_mean_along_its_line() -> None:
    scene = np.random.default_rng(1).random((96, 96, 3)).astype(np.float32)
    sample = smear(scene, np.array([12.0, 0.0]), 16)
    assert sample.sharp.shape == sample.blurred.shape == (64, 64, 3)
    np.testing.assert_array_equal(sample.sharp, scene[16:80, 16:80])
    # 12 px long: five whole pixels each side, and the outermost two half.
    weights = np.r_[0.5, np.ones(11), 0.5] / 12
    row = np.apply_along_axis(np.convolve, 0, scene[40], weights, "same")[16:80]
    np.testing.assert_allclose(sample.blurred[24], row, atol=0.03)


def test_a_sample_is_a_function_of_its_number(sharp_photos: Path) -> None:
    training, _ = split_library(sharp_photos, shrink=1)
    crops = SmearedCrops(training, 3, crop_px=64)
    one, again, other = (crops.sample(number).tensors() for number in (5, 5, 6))
    for name, values in one.items():
        np.testing.assert_array_equal(values, again[name])
        assert np.abs(values - other[name]).max() > 0.01
    assert one["blurred"].shape == one["sharp"].shape == (3, 64, 64)
    assert one["paths"].shape == (16, 8, 8)
    lengths = [float(crops.sample(n).field.length_px[0, 0]) for n in range(40)]
    assert LENGTH_PX[0] <= min(lengths) < 12
    assert 30 < max(lengths) <= LENGTH_PX[1]
    assert margin_px() > LENGTH_PX[1] / 2


def test_training_and_validation_share_no_photograph(sharp_photos: Path) -> None:
    training, validation = split_library(sharp_photos, shrink=1)
    assert (len(training.names), len(validation.names)) == (2, 1)
    assert len(training.pictures) == 2
    assert not any(is_held_back(Path(name)) for name in training.names)
    with pytest.raises(InputError, match="photographs"):
        split_library(sharp_photos, shrink=2)  # too small then


def test_our_pipeline_undoes_the_ten_smears(sharp_photos: Path, tmp_path: Path) -> None:
    _, validation = split_library(sharp_photos, shrink=1)
    pictures = write_validation(SmearedCrops(validation, 1, crop_px=128), tmp_path / "ten")
    assert len(pictures) == 10
    for bundle, sample in pictures[:3]:
        np.testing.assert_array_equal(bundle.read_pixels(), from_linear(sample.blurred, "srgb"))
    some = pictures[:4]
    found = judge(some, open_methods([], threads=1, unguarded=True))
    before = [
        psnr_db(b.read_pixels().astype(np.uint8), from_linear(s.sharp, "srgb")) for b, s in some
    ]
    assert found[BLURRED] == {"psnr_db": pytest.approx(np.mean(before)), "worst_gain_db": 0.0}
    assert found["filter, unguarded"]["psnr_db"] > np.mean(before) + 3


def test_the_command_trains_resumes_and_judges(
    sharp_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="training needs the extra `train`")
    run = tmp_path / "run"
    command = ["seed-protocol", str(run), "--photos", str(sharp_photos), "--shrink", "1"]
    command += ["--crop-px", "64", "--workers", "0", "--threads", "1", "--save-steps", "2"]
    command += ["--precision", "bfloat16"]
    assert main([*command, "--steps", "4"]) == 0
    assert read_result(run)["step"] == 4
    # No time at all is left after the first step of a run that goes on.
    assert main([*command, "--steps", "50", "--minutes", "0"]) == 0
    result = read_result(run)
    assert 4 < result["step"] < 8
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[1] < 0.97 * losses[0]  # means of two steps each
    assert result["protocol"] == PROTOCOL
    assert set(result["methods"]) == {BLURRED, "seed_unet", "filter"}
    assert result["identities"]["seed_unet"]["protocol"] == PROTOCOL
    assert f"| filter | {result['methods']['filter']['psnr_db']:.2f} |" in capsys.readouterr().out


def test_another_protocols_checkpoints_are_refused(
    sharp_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch", reason="training needs the extra `train`")
    from host_training.averaging import WeightAverage
    from host_training.checkpoint import TrainState, save_checkpoint
    from host_training.networks import build
    from host_training.seed_protocol import seed_config

    network = build("seed_unet")
    state = TrainState(network, torch.optim.AdamW(network.parameters()), WeightAverage(network, 0))
    save_checkpoint(tmp_path, replace(state, step=1), seed_config(steps=1, save_steps=1))
    command = ["seed-protocol", str(tmp_path), "--photos", str(sharp_photos), "--shrink", "1"]
    assert main(command) == 2
    assert f"protocol: found stillpi, expected {PROTOCOL}" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"seed-protocol\.json"):
        read_result(tmp_path)
