"""Checkpoints: a folder of weights a training run can be continued from bit by bit.

    step-00001000/
        weights.safetensors     the network as the last step left it
        average.safetensors     its moving average: what is evaluated and shipped
        optimiser.safetensors   moments of every parameter, named `NUMBER.moment`
        chance.safetensors      states of the random generators
        checkpoint.json         network, step, configuration, SHA-256 of the files above

Failure policy: everything is written and synced in a hidden folder that then gets its name. What
fails before (a full disk, a kill) leaves the older checkpoints as they were; only after the rename
are the oldest removed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from device.bundle_write import new_folder
from device.errors import StillpiError
from host_training.averaging import WeightAverage
from host_training.config import TrainConfig

FORMAT, VERSION = "stillpi-checkpoint", 1
METADATA = "checkpoint.json"
WEIGHTS, AVERAGE = "weights.safetensors", "average.safetensors"
OPTIMISER, CHANCE = "optimiser.safetensors", "chance.safetensors"
_NAME = re.compile(r"step-(\d{8,})")

Tensors = dict[str, Tensor]


class CheckpointError(StillpiError, ValueError):
    """A checkpoint does not fit, is damaged or is missing; names the file and what differs."""


@dataclass
class TrainState:
    """All that a step changes. step : how many are done."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    average: WeightAverage
    step: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The metadata of a checkpoint folder, checked."""

    path: Path
    network: str
    step: int
    config: TrainConfig
    files: dict[str, str]
    metadata: dict[str, Any]

    def tensors(self, file: str) -> Tensors:
        """One of its files. Raises CheckpointError when its bytes are not those written."""
        path = self.path / file
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise CheckpointError(f"{path}: is missing") from error
        if hashlib.sha256(content).hexdigest() != self.files.get(file):
            raise CheckpointError(f"{path}: is damaged, its SHA-256 is not that of {METADATA}")
        try:
            return load(content)
        except SafetensorError as error:
            raise CheckpointError(f"{path}: {error}") from error


def save_checkpoint(
    run: Path, state: TrainState, config: TrainConfig, *, extra: dict[str, Any] | None = None
) -> Path:
    """Write `run`/step-NNNNNNNN, remove the oldest beyond `config.keep`; returns its path.

    extra : plain JSON for people, such as the command and the training data.
    Raises OSError when it cannot be written; nothing is changed then.
    """
    contents = {
        WEIGHTS: save(_plain(state.network.state_dict())),
        AVERAGE: save(_plain(state.average.weights)),
        OPTIMISER: save(_plain(_moments(state.optimiser))),
        CHANCE: save(_random_states()),
    }
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "network": config.network,
        "step": state.step,
        "config": config.to_json(),
        "torch": torch.__version__,
        **(extra or {}),
    }
    folder = _write(run, state.step, contents, metadata)
    for old in checkpoints(run)[: -config.keep]:
        shutil.rmtree(old)
    return folder


def save_mean(run: Path, parts: Sequence[Checkpoint], *, command: str | None = None) -> Path:
    """Write `run`/step-NNNNNNNN, whose weights are the mean of several checkpoints' averages.

    The mean of what one training passes through can be better than any of it (Izmailov et al.,
    "Averaging weights leads to wider optima and better generalization", UAI 2018).

    parts : of one network; one that is named twice counts twice. Everything else is the last one's,
    so that training can go on from here. command : noted for people.

    Raises CheckpointError naming what does not fit, OSError when it cannot be written.
    """
    last = parts[-1]
    averages = [part.tensors(AVERAGE) for part in parts]
    for part, average in zip(parts, averages, strict=True):
        _check_fit(part.path / AVERAGE, average, averages[-1])
    mean = {
        name: torch.stack([average[name].double() for average in averages]).mean(0).to(tensor.dtype)
        for name, tensor in averages[-1].items()
    }
    weights = save(mean)
    contents = {
        WEIGHTS: weights,
        AVERAGE: weights,
        OPTIMISER: save(last.tensors(OPTIMISER)),
        CHANCE: save(last.tensors(CHANCE)),
    }
    mixed = [{"step": part.step, "sha256": part.files[AVERAGE]} for part in parts]
    metadata = {**last.metadata, "mean_of": mixed, "mean_command": command}
    return _write(run, last.step, contents, metadata)


def _write(run: Path, step: int, contents: dict[str, bytes], metadata: dict[str, Any]) -> Path:
    folder = run / checkpoint_name(step)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    metadata = {**metadata, "files": hashes}
    text = json.dumps(metadata, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for half_written in run.glob(".step-*"):  # by a run that was killed
        shutil.rmtree(half_written)
    try:
        with new_folder(folder) as temporary:
            for name, data in contents.items():
                (temporary / name).write_bytes(data)
            (temporary / METADATA).write_text(text, encoding="utf-8")
    except OSError as error:
        # A failed write names no file of its own accord, a failed open one that is hidden.
        raise OSError(error.errno, error.strerror, str(folder)) from error
    return folder


def checkpoint_name(step: int) -> str:
    """The folder of the checkpoint after so many steps."""
    return f"step-{step:08d}"


def checkpoints(run: Path) -> list[Path]:
    """The checkpoint folders of a run, oldest first; none when the run does not exist."""
    if not run.is_dir():
        return []
    found = [
        (int(match[1]), path) for path in run.iterdir() if (match := _NAME.fullmatch(path.name))
    ]
    return [path for _, path in sorted(found)]


def read_checkpoint(path: Path, *, network: str | None = None) -> Checkpoint:
    """Read what a checkpoint says of itself.

    path : a checkpoint folder, or a run's folder for its newest one.
    network : the one expected, when there is one.
    Raises CheckpointError naming what is missing or differs.
    """
    inside = checkpoints(path)
    folder = inside[-1] if inside else path
    file = folder / METADATA
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        version = (stored["format"], stored["version"])
        if version != (FORMAT, VERSION):
            expected = f"{FORMAT} {VERSION}"
            raise CheckpointError(f"{file}: found {version[0]} {version[1]}, expected {expected}")
        found = Checkpoint(
            path=folder,
            network=str(stored["network"]),
            step=int(stored["step"]),
            config=TrainConfig.from_json(stored["config"]),
            files=dict(stored["files"]),
            metadata=stored,
        )
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no checkpoint here, {METADATA} is missing") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file}: not a checkpoint's metadata: {error}") from error
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from error
    if network is not None and found.network != network:
        raise CheckpointError(f"{file}: network: found {found.network}, expected {network}")
    return found


def load_weights(checkpoint: Checkpoint, network: nn.Module, *, averaged: bool = True) -> None:
    """Put a checkpoint's weights into a network, by default the moving average.

    Raises CheckpointError naming the first tensor that does not fit; nothing is changed then.
    """
    file = AVERAGE if averaged else WEIGHTS
    stored = checkpoint.tensors(file)
    _check_fit(checkpoint.path / file, stored, network.state_dict())
    network.load_state_dict(stored)


def restore(state: TrainState, checkpoint: Checkpoint) -> None:
    """Put a training run where a checkpoint left it. Raises CheckpointError as load_weights."""
    average = checkpoint.tensors(AVERAGE)
    moments = checkpoint.tensors(OPTIMISER)
    chance = checkpoint.tensors(CHANCE)
    _check_fit(checkpoint.path / AVERAGE, average, state.average.weights)
    load_weights(checkpoint, state.network, averaged=False)
    for name, tensor in average.items():
        state.average.weights[name].copy_(tensor)
    _load_moments(state.optimiser, moments, checkpoint.path / OPTIMISER)
    torch.set_rng_state(chance["cpu"])
    if "cuda" in chance and torch.cuda.is_available():
        torch.cuda.set_rng_state(chance["cuda"])
    state.step = checkpoint.step


def _plain(tensors: Tensors) -> Tensors:
    """Rows of numbers on the CPU: safetensors knows no memory formats and no shared storage."""
    return {
        name: tensor.detach().to("cpu", memory_format=torch.contiguous_format, copy=True)
        for name, tensor in tensors.items()
    }


def _check_fit(file: Path, stored: Tensors, wanted: Tensors) -> None:
    for name in sorted(stored.keys() | wanted.keys()):
        shapes = [
            f"{tuple(tensors[name].shape)}" if name in tensors else "none"
            for tensors in (stored, wanted)
        ]
        if shapes[0] != shapes[1]:
            raise CheckpointError(f"{file}: {name}: found {shapes[0]}, expected {shapes[1]}")


def _moments(optimiser: torch.optim.Optimizer) -> Tensors:
    states: dict[int, Tensors] = optimiser.state_dict()["state"]
    return {
        f"{number}.{name}": tensor
        for number, moments in states.items()
        for name, tensor in moments.items()
    }


def _load_moments(optimiser: torch.optim.Optimizer, stored: Tensors, file: Path) -> None:
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    states: dict[int, Tensors] = {}
    for key, tensor in stored.items():
        number, _, name = key.partition(".")
        if int(number) >= len(parameters):
            raise CheckpointError(f"{file}: {key}: there are only {len(parameters)} parameters")
        if tensor.ndim:
            # The parameter's own memory format: sums run in another order in another one.
            tensor = torch.empty_like(parameters[int(number)], dtype=tensor.dtype).copy_(tensor)
        states.setdefault(int(number), {})[name] = tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": states, "param_groups": groups})


def _random_states() -> Tensors:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states
