"""The training loop.

Failure policy: a signal to stop ends the run after its step, with a checkpoint. A loss or gradient
that is not finite ends it before the weights are touched, with the batch saved beside the
checkpoints. What cannot be written ends it too, and the last checkpoint stays as it was.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from device.errors import StillpiError
from device.output import write_atomic
from host_training.averaging import WeightAverage
from host_training.checkpoint import (
    TrainState,
    checkpoint_name,
    checkpoints,
    read_checkpoint,
    restore,
    save_checkpoint,
)
from host_training.config import TrainConfig
from host_training.runlog import RunLog
from host_training.watch import Watch
from host_training.world import World

Batch = dict[str, Tensor]
"""blurred, filtered, sharp : (N, 3, S, S); paths : (N, 16, S/8, S/8); noise : (N, 1, S/8, S/8)."""

OpenBatches = Callable[[int], Iterator[Mapping[str, Tensor]]]
"""Batches from a step on, so that a resumed run sees those it would have seen."""


class TrainingError(StillpiError, RuntimeError):
    """Training cannot go on; says why and where the evidence lies."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is learned.

    restore : network and batch to the restored picture (N, 3, S, S).
    loss : restored picture, float32, and batch to a scalar.
    """

    restore: Callable[[nn.Module, Batch], Tensor]
    loss: Callable[[Tensor, Batch], Tensor]


@dataclass(frozen=True, slots=True)
class Outcome:
    """step : how many are done; stopped : by a signal; checkpoint : the newest."""

    step: int
    stopped: bool
    checkpoint: Path


class StopSignal(AbstractContextManager["StopSignal"]):
    """Remembers SIGTERM and Ctrl-C instead of dying of them; `set` by hand does the same."""

    def __init__(self) -> None:
        self.is_set = False
        self._before: dict[signal.Signals, Any] = {}

    def set(self, *_: int | FrameType | None) -> None:
        """Ask for the end after the step that is being done."""
        self.is_set = True

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self.set)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def train(
    network: nn.Module,
    task: Task,
    open_batches: OpenBatches,
    config: TrainConfig,
    run: Path,
    *,
    world: World | None = None,
    watch: Watch | None = None,
    bar: bool = False,
    extra: dict[str, Any] | None = None,
    clock_s: Callable[[], float] = time.perf_counter,
    on_step: Callable[[int, float], None] | None = None,
) -> Outcome:
    """Train a network, from the newest checkpoint in the folder `run` when there is one.

    open_batches : called once with the number of steps that are done.
    watch : judges the averaged weights at every checkpoint.
    extra : plain JSON to keep with every checkpoint.
    on_step : told every step done and its loss, in this process alone.

    Raises TrainingError, CheckpointError when `run` holds another network's, OSError.
    """
    world = world or World()
    state = _begin(network, config, run, world)
    model = world.wrap(network)
    meter = _Meter(clock_s)
    asked, saved = False, state.step
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        # Opened under the handler: worker processes then outlive a Ctrl-C, which reaches them too.
        # A loader draws a seed for them, which must not move the run's own generator.
        with torch.random.fork_rng(devices=[]):
            batches = open_batches(state.step)
        log = stack.enter_context(_log(config, run, state, bar)) if world.leads else None
        while state.step < config.steps and not asked:
            meter.begins()
            batch = _next_batch(batches, config, state.step, world.device)
            meter.has_data()
            loss, norm, asked = _step(model, state, task, batch, config, run, world, stop)
            meter.has_stepped(loss, len(batch["sharp"]) * world.size)
            last = asked or state.step == config.steps
            if on_step:
                on_step(state.step, loss)
            if log:
                log.advance(state.step)
                if last or state.step % config.log_steps == 0:
                    rate = config.rate_at(state.step - 1)
                    log.write(state.step, {**meter.figures(), "rate": rate, "gradient": norm})
            if last or state.step % config.save_steps == 0:
                if log:
                    scores = watch.scores(network, state.average.weights) if watch else {}
                    log.write(state.step, scores)
                    told = {**(extra or {}), "scores": scores}
                    save_checkpoint(run, state, config, extra=told)
                saved = state.step
                world.wait()
    return Outcome(state.step, asked, run / checkpoint_name(saved))


def _log(config: TrainConfig, run: Path, state: TrainState, bar: bool) -> RunLog:
    return RunLog(run, first_step=state.step, steps=config.steps, bar=bar)


def _begin(network: nn.Module, config: TrainConfig, run: Path, world: World) -> TrainState:
    network.to(world.device)
    if config.channels_last:
        # nn.Module.to's stubs know the memory format only together with a device.
        network.to(device=world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    fused = world.device.type == "cuda"
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=config.rate, weight_decay=config.weight_decay, fused=fused
    )
    state = TrainState(network, optimiser, WeightAverage(network, config.average_decay))
    if checkpoints(run):
        restore(state, read_checkpoint(run, network=config.network))
    return state


def _next_batch(
    batches: Iterator[Mapping[str, Tensor]], config: TrainConfig, step: int, device: torch.device
) -> Batch:
    try:
        batch = next(batches)
    except StopIteration:
        raise TrainingError(f"the data ended at step {step} of {config.steps}") from None
    layout = torch.channels_last if config.channels_last else torch.preserve_format
    return {
        name: tensor.to(device, non_blocking=True, memory_format=layout)
        if tensor.ndim == 4
        else tensor.to(device, non_blocking=True)
        for name, tensor in batch.items()
    }


def _step(
    model: nn.Module,
    state: TrainState,
    task: Task,
    batch: Batch,
    config: TrainConfig,
    run: Path,
    world: World,
    stop: StopSignal,
) -> tuple[float, float, bool]:
    """One optimiser step; returns the loss, the gradient's norm, and whether to stop now."""
    for group in state.optimiser.param_groups:
        group["lr"] = config.rate_at(state.step)
    half = config.precision == "bfloat16"
    with torch.autocast(world.device.type, torch.bfloat16, enabled=half):
        restored = task.restore(model, batch)
    loss = task.loss(restored.float(), batch)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = float(nn.utils.clip_grad_norm_(state.network.parameters(), config.clip_norm))
    value = float(loss.detach())
    finite = math.isfinite(value) and math.isfinite(norm)
    # One exchange a step, so that all processes end together, whoever got the signal or the NaN.
    bad, asked, total = world.sum([not finite, stop.is_set, value if finite else 0.0])
    if bad:
        _give_up(batch, state.step, value, norm, run, world)
    state.optimiser.step()
    state.average.update(state.network, state.step)
    state.step += 1
    return total / world.size, norm, asked > 0


def _give_up(batch: Batch, step: int, loss: float, norm: float, run: Path, world: World) -> None:
    """Save the batch for inspection and raise TrainingError."""
    path = run / f"bad-batch-{step:08d}-{world.rank}.safetensors"
    run.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.cpu().contiguous() for name, tensor in batch.items()}
    write_atomic(path, save(plain, {"loss": str(loss), "gradient": str(norm)}))
    raise TrainingError(
        f"step {step}: the loss is {loss} and its gradient's norm {norm}; "
        f"the weights were left as they were, the batch is in {path}"
    )


class _Meter:
    """Where the time between two lines of the log went."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._mark_s = clock_s()
        self._reset()

    def _reset(self) -> None:
        self._losses: list[float] = []
        self._pairs = 0
        self._waiting_s = self._working_s = 0.0

    def _lap_s(self) -> float:
        before, self._mark_s = self._mark_s, self._clock_s()
        return self._mark_s - before

    def begins(self) -> None:
        """What passed since the last step, writing a checkpoint for one, is neither."""
        self._lap_s()

    def has_data(self) -> None:
        """The time since then was spent waiting for data."""
        self._waiting_s += self._lap_s()

    def has_stepped(self, loss: float, pairs: int) -> None:
        """The time since the data came was spent on the step."""
        self._working_s += self._lap_s()
        self._losses.append(loss)
        self._pairs += pairs

    def figures(self) -> dict[str, float]:
        """Since the last call: mean loss, pairs a second, share of the time without data."""
        total_s = max(self._waiting_s + self._working_s, 1e-9)
        found = {
            "loss": sum(self._losses) / len(self._losses),
            "pairs_per_s": self._pairs / total_s,
            "data_wait_share": self._waiting_s / total_s,
        }
        self._reset()
        return found
