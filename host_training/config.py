"""What a training run is told: one flat, frozen record that is stored with every checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from device.errors import InputError

PRECISIONS = ("float32", "bfloat16")
_SOURCE = "training configuration"


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How to train.

    network : a name of the registry.
    steps, warmup_steps : optimiser steps in all; those in which the rate rises from nothing.
    batch_size : pairs a step and process.
    rate, last_rate : learning rate at the end of the warm-up and at the end of the run.
    clip_norm : the gradient is scaled down to this 2-norm over all parameters.
    average_decay : of the moving average of the weights, which is what is shipped.
    precision : of the network's forward pass; weights and loss are float32 always.
    log_steps, save_steps : steps between lines of the log and between checkpoints.
    keep : checkpoints that stay on disk.

    Raises InputError for a value that cannot work.
    """

    network: str = "corrector-M"
    steps: int = 100_000
    batch_size: int = 16
    rate: float = 4e-4
    last_rate: float = 1e-6
    warmup_steps: int = 500
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    average_decay: float = 0.999
    precision: str = "float32"
    channels_last: bool = True
    log_steps: int = 50
    save_steps: int = 1000
    keep: int = 3
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_steps", "save_steps", "keep"):
            self._hold(name, getattr(self, name) >= 1, "at least 1")
        for name in ("rate", "clip_norm"):
            value = getattr(self, name)
            self._hold(name, value > 0 and math.isfinite(value), "a number above 0")
        self._hold("warmup_steps", self.warmup_steps >= 0, "0 or more")
        self._hold("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more")
        self._hold("last_rate", 0 <= self.last_rate <= self.rate, "0 to the rate")
        self._hold("average_decay", 0 <= self.average_decay < 1, "0 to below 1")
        self._hold("precision", self.precision in PRECISIONS, " or ".join(PRECISIONS))

    def _hold(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise InputError(_SOURCE, name, getattr(self, name), expected)

    def rate_at(self, step: int) -> float:
        """The learning rate of one step, 0 the first: a linear rise, then half a cosine down."""
        if step < self.warmup_steps:
            return self.rate * (step + 1) / self.warmup_steps
        share = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        return self.last_rate + (self.rate - self.last_rate) * cosine

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of every field."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> TrainConfig:
        """The record a checkpoint holds. Raises InputError for a key that is not one of ours."""
        known = {field.name for field in fields(cls)}
        for name in stored:
            if name not in known:
                raise InputError(_SOURCE, name, "an unknown key", "one of this version's")
        return cls(**stored)
