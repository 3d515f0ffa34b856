from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from host_training.checkpoint import checkpoints, load_weights, read_checkpoint  # noqa: E402
from host_training.cli import main  # noqa: E402
from host_training.photos import is_held_back  # noqa: E402
from host_training.tasks import build_network, task_of  # noqa: E402

PATIENCE_S = 120


@pytest.fixture(scope="module")
def sharp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs large enough for the smallest crop, and free to train on."""
    folder = tmp_path_factory.mktemp("sharp")
    rng = np.random.default_rng(2)
    names = (folder / f"{number}.png" for number in range(100))
    for path in [path for path in names if not is_held_back(path)][:2]:
        coarse = rng.integers(20, 236, (160, 160, 3), np.uint8)
        big = cv2.resize(coarse, (800, 800), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(path), big)
    return folder


def command(run: Path, sharp: Path, motion: Path, *more: str) -> list[str]:
    told = ["train", str(run), "--photos", str(sharp), "--motion", str(motion)]
    told += ["--network", "corrector-S", "--batch-size", "2", "--crop-px", "64", "--scenes", "2"]
    return [*told, "--workers", "0", "--threads", "1", "--watched", "2", "--log-steps", "1", *more]


def test_training_goes_on_where_it_ended(
    tmp_path: Path, sharp: Path, motion: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, sharp, motion, "--steps", "2")) == 0
    assert main(command(tmp_path, sharp, motion, "--steps", "3")) == 0
    assert "corrector-S trained for 3 steps" in capsys.readouterr().out
    found = read_checkpoint(tmp_path, network="corrector-S")
    assert found.step == 3
    assert found.metadata["photographs"] == sorted(path.name for path in sharp.iterdir())
    load_weights(found, build_network("corrector-S"))
    told = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in told if "loss" in line] == [1, 2, 3]
    watched = [line for line in told if "psnr_restored" in line]
    # The residual begins near zero: two steps cannot move the result far from the filter's.
    assert watched[0]["psnr_restored"] == pytest.approx(watched[0]["psnr_filtered"], abs=1)


def test_real_pairs_resume_exactly_too(tmp_path: Path, sharp: Path, motion: Path) -> None:
    """The last checkpoint is lost and made again, by two workers that start anew."""
    told = command(tmp_path, sharp, motion, "--steps", "3", "--save-steps", "1", "--workers", "2")
    assert main(told) == 0
    last = checkpoints(tmp_path)[-1]
    before = read_checkpoint(last).files
    shutil.rmtree(last)
    assert main(told) == 0
    assert read_checkpoint(last).files == before


@pytest.mark.parametrize("how", ["SIGTERM", "Ctrl-C"])
def test_a_signal_saves_and_ends_well(tmp_path: Path, sharp: Path, motion: Path, how: str) -> None:
    """Ctrl-C reaches the worker that makes pairs as well."""
    workers = "1" if how == "Ctrl-C" else "0"
    told = command(tmp_path, sharp, motion, "--steps", "1000000", "--workers", workers)
    process = subprocess.Popen(
        [sys.executable, "-m", "host_training.cli", *told],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _wait_for_a_step(tmp_path / "log.jsonl", process)
        if how == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "the same command goes on from there" in output
    assert read_checkpoint(checkpoints(tmp_path)[-1]).step >= 1


def _wait_for_a_step(log: Path, process: subprocess.Popen[str]) -> None:
    pause = threading.Event()
    for _ in range(PATIENCE_S * 10):
        if log.exists() and log.read_text():
            return
        assert process.poll() is None
        pause.wait(0.1)
    pytest.fail("no step was done in time")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--network", "resnet", "network: found resnet, expected corrector-S"),
        ("--crop-px", "72", "--crop-px: found 72"),
        ("--workers", "-1", "--workers: found -1, expected 0 or more"),
        ("--rate", "nan", "rate: found nan"),
        ("--photos", "nowhere", "nowhere"),
        ("--motion", "nowhere", "nowhere"),
    ],
)
def test_what_cannot_work_is_one_line(
    tmp_path: Path, sharp: Path, motion: Path, capsys: pytest.CaptureFixture[str],
    option: str, value: str, message: str,
) -> None:  # fmt: skip
    assert main(command(tmp_path / "run", sharp, motion, option, value)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_network_is_refused(
    tmp_path: Path, sharp: Path, motion: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, sharp, motion, "--steps", "1")) == 0
    assert main(command(tmp_path, sharp, motion, "--network", "seed_unet")) == 2
    assert "network: found corrector-S, expected seed_unet" in capsys.readouterr().err
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000001"]


@pytest.mark.parametrize("name", ["corrector-S", "seed_unet"])
def test_every_kind_of_network_has_a_loss_to_lower(name: str) -> None:
    torch.manual_seed(4)
    network, task = build_network(name), task_of(name)
    sharp = torch.rand(2, 3, 64, 64)
    batch = {"sharp": sharp, "blurred": 0.5 * sharp + 0.3, "filtered": 0.7 * sharp + 0.2}
    batch["underdamped"] = batch["filtered"].mean(dim=1, keepdim=True)
    batch["paths"], batch["noise"] = torch.zeros(2, 16, 8, 8), torch.zeros(2, 1, 8, 8)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(10):
        loss = task.loss(task.restore(network, batch).float(), batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
