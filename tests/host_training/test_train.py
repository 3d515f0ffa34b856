"""Training on pairs made here, with a network small enough to be exact about.

Run as a script it is one of the processes of `test_two_processes_learn_as_one_does`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch import nn  # noqa: E402

from device.errors import InputError  # noqa: E402
from host_training.checkpoint import CheckpointError, checkpoints, read_checkpoint  # noqa: E402
from host_training.config import TrainConfig  # noqa: E402
from host_training.train import Outcome, Task, TrainingError, train  # noqa: E402
from host_training.watch import Watch  # noqa: E402
from host_training.world import World, joined_world  # noqa: E402

PAIRS = 8


class Toy(nn.Module):
    """A residual from the blurred and the filtered picture."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(6, 16, 3, padding=1)
        self.last = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, blurred: Any, filtered: Any) -> Any:
        return self.last(torch.relu(self.first(torch.cat([blurred, filtered], 1))))


def toy() -> Toy:
    torch.manual_seed(3)
    return Toy()


TASK = Task(
    restore=lambda model, batch: batch["filtered"] + model(batch["blurred"], batch["filtered"]),
    loss=lambda restored, batch: (restored - batch["sharp"]).square().mean(),
)


def pairs() -> dict[str, Any]:
    """(PAIRS, ...): a soft picture whose blur and filter are known functions of it."""
    generator = torch.Generator().manual_seed(11)
    sharp = torch.rand(PAIRS, 3, 16, 16, generator=generator)
    blurred = nn.functional.avg_pool2d(sharp, 3, 1, 1)
    return {
        "sharp": sharp,
        "blurred": blurred,
        "filtered": 0.7 * sharp + 0.3 * blurred,
        "paths": torch.zeros(PAIRS, 16, 2, 2),
        "noise": torch.zeros(PAIRS, 1, 2, 2),
    }


def batches(first_step: int, *, size: int = 4, part: int = 0, parts: int = 1) -> Iterator[Any]:
    """Every step's `size` pairs, or this process's share of them."""
    data = pairs()
    step = first_step
    while True:
        chosen = (torch.arange(size) * 3 + step) % PAIRS
        chosen = chosen[part::parts]
        yield {name: tensor[chosen] for name, tensor in data.items()}
        step += 1


def config(**changes: Any) -> TrainConfig:
    told = {"network": "toy", "steps": 12, "rate": 1e-2, "warmup_steps": 3, "log_steps": 2}
    return TrainConfig(**{**told, "save_steps": 4, **changes})


def stored(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.name: load_file(path) for path in sorted(folder.glob("*.safetensors"))}


def assert_same(first: Path, second: Path) -> None:
    left, right = stored(first), stored(second)
    assert left.keys() == right.keys()
    for file, tensors in left.items():
        assert tensors.keys() == right[file].keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensor, right[file][name]), f"{file}: {name}"


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_short_training_lowers_the_loss(tmp_path: Path) -> None:
    losses: list[float] = []
    told = config(steps=150)
    done = train(toy(), TASK, batches, told, tmp_path, on_step=lambda _, loss: losses.append(loss))
    assert done == Outcome(150, False, tmp_path / "step-00000150")
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_stopped_run_goes_on_bit_by_bit(
    tmp_path: Path, precision: str, channels_last: bool
) -> None:
    told = config(precision=precision, channels_last=channels_last)
    whole = train(toy(), TASK, batches, told, tmp_path / "whole")

    def stop_at_five(step: int, _: float) -> None:
        if step == 5:
            signal.raise_signal(signal.SIGTERM)

    halved = tmp_path / "halved"
    first = train(toy(), TASK, batches, told, halved, on_step=stop_at_five)
    # The signal came after step 5 had been counted: step 6 was under way.
    assert first == Outcome(6, True, halved / "step-00000006")
    second = train(Toy(), TASK, batches, told, halved)
    assert second == Outcome(12, False, halved / "step-00000012")
    assert_same(whole.checkpoint, second.checkpoint)


def test_the_signal_is_handled_as_before_once_training_is_over(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    train(toy(), TASK, batches, config(steps=1), tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    first = train(toy(), TASK, batches, config(), tmp_path)
    assert train(toy(), TASK, batches, config(), tmp_path) == first


def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    train(toy(), TASK, batches, config(steps=12, save_steps=2, keep=2), tmp_path)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000010", "step-00000012"]


def test_a_loss_that_is_no_number_stops_with_the_batch_saved(tmp_path: Path) -> None:
    def broken(first_step: int) -> Iterator[Mapping[str, Any]]:
        for step, batch in enumerate(batches(first_step), start=first_step):
            if step == 5:
                batch["blurred"][1, 0, 2, 3] = float("nan")
            yield batch

    network = toy()
    with pytest.raises(TrainingError, match=r"step 5: the loss is nan.*bad-batch-00000005-0"):
        train(network, TASK, broken, config(), tmp_path)
    with safe_open(tmp_path / "bad-batch-00000005-0.safetensors", "pt") as file:
        assert file.metadata()["loss"] == "nan"
        assert torch.isnan(file.get_tensor("blurred")[1, 0, 2, 3])
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000004"]


def test_data_that_ends_is_an_error(tmp_path: Path) -> None:
    data = list(zip(range(3), batches(0), strict=False))
    with pytest.raises(TrainingError, match="the data ended at step 3 of 12"):
        train(toy(), TASK, lambda _: (b for _, b in data), config(), tmp_path)


def test_a_run_of_another_network_is_refused(tmp_path: Path) -> None:
    train(toy(), TASK, batches, config(steps=1), tmp_path)
    with pytest.raises(CheckpointError, match="network: found toy, expected other"):
        train(toy(), TASK, batches, config(network="other"), tmp_path)


def test_the_log_says_where_time_goes(tmp_path: Path) -> None:
    """A clock that advances by one at each look: a wait and a step last as long."""
    ticks = iter(range(10**6))
    told = config(steps=7, log_steps=3)
    train(toy(), TASK, batches, told, tmp_path, clock_s=lambda: float(next(ticks)))
    told_lines = lines(tmp_path)
    assert [line["step"] for line in told_lines] == [3, 6, 7]
    assert [line["data_wait_share"] for line in told_lines] == [0.5] * 3
    assert [line["pairs_per_s"] for line in told_lines] == [2.0] * 3
    assert told_lines[0]["rate"] == pytest.approx(1e-2)
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_resumed_log_has_every_step_once(tmp_path: Path) -> None:
    """Killed after step 10, the last checkpoint at step 8."""
    told = config(save_steps=8)

    def kill(step: int, _: float) -> None:
        if step == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy(), TASK, batches, told, tmp_path, on_step=kill)
    assert [line["step"] for line in lines(tmp_path)] == [2, 4, 6, 8, 10]
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 1')
    train(toy(), TASK, batches, told, tmp_path)
    assert [line["step"] for line in lines(tmp_path)] == [2, 4, 6, 8, 10, 12]


def test_the_average_follows_the_weights(tmp_path: Path) -> None:
    done = train(toy(), TASK, batches, config(steps=40, average_decay=0.5), tmp_path)
    found = stored(done.checkpoint)
    start = toy().state_dict()["first.weight"]
    last = found["weights.safetensors"]["first.weight"]
    average = found["average.safetensors"]["first.weight"]
    assert 0 < (average - last).norm() < 0.1 * (start - last).norm()


def test_the_averaged_weights_are_watched(tmp_path: Path) -> None:
    """Blurred and filtered score as their errors do by hand; the restored one rises."""
    watch = Watch([pairs()], TASK.restore, border_px=0)
    network = toy()
    done = train(network, TASK, batches, config(steps=80, save_steps=40), tmp_path, watch=watch)
    told = [line for line in lines(tmp_path) if "psnr_restored" in line]
    assert [line["step"] for line in told] == [40, 80]
    assert told[1]["psnr_restored"] > told[0]["psnr_restored"] > 0
    data = pairs()
    for name in ("blurred", "filtered"):
        power = (data[name] - data["sharp"]).square().mean((1, 2, 3))
        assert told[0][f"psnr_{name}"] == pytest.approx(float((-10 * power.log10()).mean()), 1e-5)
    scores = read_checkpoint(done.checkpoint).metadata["scores"]
    assert scores["psnr_restored"] == told[1]["psnr_restored"]
    assert network.training


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("rate", float("nan")), ("precision", "float16"), ("average_decay", 1.0)],
)
def test_a_configuration_that_cannot_work_is_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        config(**{name: value})


def test_the_rate_rises_then_falls_as_a_cosine() -> None:
    told = config(steps=103, warmup_steps=3, rate=3e-3, last_rate=1e-3)
    rates = [told.rate_at(step) for step in (0, 1, 2, 3, 53, 103, 200)]
    assert rates == pytest.approx([1e-3, 2e-3, 3e-3, 3e-3, 2e-3, 1e-3, 1e-3])


def test_two_processes_learn_as_one_does(tmp_path: Path) -> None:
    """Each has half of every batch; the step is that of the whole."""
    single = train(toy(), TASK, batches, config(), tmp_path / "one")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", __file__, str(tmp_path / "two")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, timeout=120, env=environment, capture_output=True)
    double = checkpoints(tmp_path / "two")[-1]
    assert read_checkpoint(double).step == 12
    found, expected = stored(double), stored(single.checkpoint)
    for name, tensor in expected["average.safetensors"].items():
        torch.testing.assert_close(found["average.safetensors"][name], tensor)
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two")
    losses = [[line["loss"] for line in told] for told in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def _be_one_of_two(run: Path) -> None:
    torch.set_num_threads(1)
    with joined_world("cpu") as world:
        assert isinstance(world, World)
        part = world.rank

        def share(first_step: int) -> Iterator[Any]:
            return batches(first_step, part=part, parts=2)

        train(toy(), TASK, share, config(), run, world=world)


if __name__ == "__main__":
    _be_one_of_two(Path(sys.argv[1]))
