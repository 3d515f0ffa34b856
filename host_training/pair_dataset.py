"""Pairs as batches for training: worker processes draw, torch collects.

Batch b comes from stream b % workers (of this rank), as its draws follow one another there, so a
training that resumes before batch b sees the batches it would have seen. Each worker holds its own
rendered scenes and measurements; the photographs are shared by forking.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from device.restore.network import PROVIDED
from host_training.pairs import Pair, PairSource

Sample = dict[str, torch.Tensor]


class PairDataset(IterableDataset[Sample]):
    """Endless samples: the fields of `Pair` and their shapes.

    batch_size : of the loader, which takes whole batches from its workers in turns.
    first_batch : how many batches were used before (of all workers of this rank together).
    rank, ranks : of several trainers side by side, each with pairs of its own.
    """

    def __init__(
        self,
        source: PairSource,
        *,
        batch_size: int,
        first_batch: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__()
        self._source = source
        self._batch_size, self._first_batch = batch_size, first_batch
        self._rank, self._ranks = rank, ranks

    def __iter__(self) -> Iterator[Sample]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        # The loader asks worker 0 first, whichever stream's turn it is.
        turn = (self._first_batch + worker) % workers
        done = (self._first_batch + workers - 1 - turn) // workers
        source = self._source.of_stream(turn * self._ranks + self._rank)
        index = done * self._batch_size
        if info is not None:
            # A forked thread pool has no threads: OpenCV would wait for them for ever.
            cv2.setNumThreads(0)
        with threadpool_limits(limits=1, user_api="blas"):
            while True:
                yield as_sample(source.draw(index))
                index += 1


def as_sample(pair: Pair) -> Sample:
    """The pair as float32 tensors; blur_px () for reports by blur length."""
    sample = {name: torch.from_numpy(getattr(pair, name)) for name in (*PROVIDED, "sharp")}
    sample["blur_px"] = torch.tensor(pair.blur_px, dtype=torch.float32)
    return sample


def pair_batches(
    source: PairSource,
    *,
    batch_size: int,
    workers: int = 0,
    first_batch: int = 0,
    rank: int = 0,
    ranks: int = 1,
    pin_memory: bool = False,
) -> DataLoader[Sample]:
    """Endless batches, (batch_size, ...) each, drawn by `workers` processes (0: by this one)."""
    dataset = PairDataset(
        source, batch_size=batch_size, first_batch=first_batch, rank=rank, ranks=ranks
    )
    return DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=workers,
        pin_memory=pin_memory,
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=4 if workers else None,
    )
