from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from host_training.averaging import WeightAverage  # noqa: E402
from host_training.checkpoint import (  # noqa: E402
    CheckpointError,
    TrainState,
    checkpoints,
    load_weights,
    read_checkpoint,
    restore,
    save_checkpoint,
    save_mean,
)
from host_training.config import TrainConfig  # noqa: E402

CONFIG = TrainConfig(network="line", keep=2)


def state(inputs: int = 4, *, step: int = 0) -> TrainState:
    """A trained step of a linear network with a buffer."""
    torch.manual_seed(inputs)
    network = torch.nn.Sequential(torch.nn.Linear(inputs, 3), torch.nn.BatchNorm1d(3))
    optimiser = torch.optim.AdamW(network.parameters())
    average = WeightAverage(network, 0.9)
    network(torch.randn(5, inputs)).square().sum().backward()
    optimiser.step()
    average.update(network, step)
    return TrainState(network, optimiser, average, step)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system itself refuses to write more, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def change(folder: Path, **values: Any) -> None:
    path = folder / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_everything_comes_back(tmp_path: Path) -> None:
    first = state(step=7)
    path = save_checkpoint(tmp_path, first, CONFIG, extra={"command": "make it"})
    second = state(step=0)
    with torch.no_grad():
        second.network.get_parameter("0.weight").zero_()
    found = read_checkpoint(tmp_path, network="line")
    assert (found.path, found.step, found.config) == (path, 7, CONFIG)
    assert found.metadata["command"] == "make it"
    random = torch.get_rng_state()
    torch.rand(9)
    restore(second, found)
    assert second.step == 7
    assert torch.equal(torch.get_rng_state(), random)
    for name, tensor in first.network.state_dict().items():
        assert torch.equal(second.network.state_dict()[name], tensor)
        assert torch.equal(second.average.weights[name], first.average.weights[name])
    old, new = (each.optimiser.state_dict()["state"] for each in (first, second))
    assert old.keys() == new.keys()
    for number, moments in old.items():
        assert moments.keys() == new[number].keys()
        assert all(torch.equal(moments[name], new[number][name]) for name in moments)


def test_the_average_is_what_others_load(tmp_path: Path) -> None:
    first = state()
    first.average.weights["0.weight"].fill_(0.5)
    save_checkpoint(tmp_path, first, CONFIG)
    second = state()
    load_weights(read_checkpoint(tmp_path), second.network)
    assert torch.equal(second.network.get_parameter("0.weight"), torch.full((3, 4), 0.5))


@pytest.mark.parametrize("room", [0, 200, 2000])
def test_a_full_disk_leaves_the_last_good_one(tmp_path: Path, room: int) -> None:
    good = save_checkpoint(tmp_path, state(step=1), CONFIG)
    with files_of_at_most(room), pytest.raises(OSError, match="step-00000002"):
        save_checkpoint(tmp_path, state(step=2), CONFIG)
    assert list(tmp_path.iterdir()) == [good]
    restore(state(), read_checkpoint(tmp_path))


def test_the_oldest_go_only_when_the_new_one_is_there(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, state(step=step), CONFIG)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000002", "step-00000003"]


def test_what_a_killed_run_left_half_written_goes(tmp_path: Path) -> None:
    (tmp_path / ".step-00000001.x").mkdir()
    (tmp_path / ".step-00000001.x" / "weights.safetensors").write_bytes(b"half")
    assert save_checkpoint(tmp_path, state(step=1), CONFIG) == tmp_path / "step-00000001"
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_another_network_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(), CONFIG)
    with pytest.raises(CheckpointError, match="network: found line, expected curve"):
        read_checkpoint(tmp_path, network="curve")


def test_weights_of_another_shape_are_named_and_nothing_changes(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(), CONFIG)
    other = state(inputs=5)
    before = {name: tensor.clone() for name, tensor in other.network.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"0.weight: found \(3, 4\), expected \(3, 5\)"):
        restore(other, read_checkpoint(tmp_path))
    for name, tensor in other.network.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": 2}, "found stillpi-checkpoint 2, expected stillpi-checkpoint 1"),
        ({"format": "other"}, "found other 1"),
        ({"step": None}, "not a checkpoint's metadata"),
        ({"config": {"depth": 3}}, "depth: found an unknown key"),
        ({"config": {"steps": 0}}, "steps: found 0"),
    ],
)
def test_metadata_of_another_version_is_refused(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    folder = save_checkpoint(tmp_path, state(), CONFIG)
    change(folder, **values)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)


def test_metadata_that_is_no_json_is_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, state(), CONFIG)
    (folder / "checkpoint.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"checkpoint\.json"):
        read_checkpoint(folder)


def test_a_folder_without_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        read_checkpoint(tmp_path)


def test_damaged_and_missing_weights_are_named(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, state(), CONFIG)
    weights = folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: is damaged"):
        restore(state(), read_checkpoint(folder))
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: is missing"):
        restore(state(), read_checkpoint(folder))


def test_the_mean_of_checkpoints_is_one_to_go_on_from(tmp_path: Path) -> None:
    folders = []
    for step in (3, 9):
        trained = state(step=step)
        for tensor in trained.average.weights.values():
            tensor.fill_(step)
        folders.append(save_checkpoint(tmp_path / str(step), trained, CONFIG))
    early, late = (read_checkpoint(folder) for folder in folders)
    path = save_mean(tmp_path / "mean", [early, late, late], command="mix it")
    assert path == tmp_path / "mean" / "step-00000009"
    mean = read_checkpoint(tmp_path / "mean", network="line")
    assert mean.metadata["mean_command"] == "mix it"
    assert [part["step"] for part in mean.metadata["mean_of"]] == [3, 9, 9]
    going_on = state()
    restore(going_on, mean)
    assert going_on.step == 9
    for tensors in (going_on.average.weights, going_on.network.state_dict()):
        assert all((tensor == 7).all() for tensor in tensors.values())


def test_checkpoints_of_other_shapes_have_no_mean(tmp_path: Path) -> None:
    parts = [
        read_checkpoint(save_checkpoint(tmp_path / str(inputs), state(inputs), CONFIG))
        for inputs in (4, 5)
    ]
    with pytest.raises(CheckpointError, match=r"0\.weight: found \(3, 4\), expected \(3, 5\)"):
        save_mean(tmp_path / "mean", parts)
    assert not (tmp_path / "mean").exists()
