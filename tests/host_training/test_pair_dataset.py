from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="batches of pairs need the train extra")

import torch

from host_training.hand_motion import read_hand_motion
from host_training.pair_dataset import PairDataset, pair_batches
from host_training.pairs import PairOptions, PairSource
from host_training.photo_library import PhotoLibrary

# Later Pythons warn of forking beside threads; the workers use none that were forked.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

SMALL = PairOptions(
    crop_px=32, scenes=2, measurements=3, measurements_per_scene=2, draws_per_measurement=3
)


@pytest.fixture(scope="module")
def source(big_photos: Path, motion: Path) -> PairSource:
    library = PhotoLibrary.read(big_photos, smallest_px=320, shrink=1, min_texture=2.0)
    return PairSource(library, read_hand_motion(motion), SMALL, seed=2)


def test_batches_hold_what_networks_and_losses_need(source: PairSource) -> None:
    batch = next(iter(pair_batches(source, batch_size=3)))
    shapes = {name: tuple(tensor.shape) for name, tensor in batch.items()}
    assert shapes == {
        "blurred": (3, 3, 32, 32),
        "filtered": (3, 3, 32, 32),
        "underdamped": (3, 1, 32, 32),
        "sharp": (3, 3, 32, 32),
        "paths": (3, 16, 4, 4),
        "noise": (3, 1, 4, 4),
        "blur_px": (3,),
    }
    assert all(tensor.dtype == torch.float32 for tensor in batch.values())


def test_two_workers_resume_where_they_were(source: PairSource) -> None:
    whole = list(islice(pair_batches(source, batch_size=2, workers=2), 5))
    rest = list(islice(pair_batches(source, batch_size=2, workers=2, first_batch=3), 2))
    for expected, found in zip(whole[3:], rest, strict=True):
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    # Two workers, two streams: no batch is seen twice.
    sums = [float(batch["sharp"].double().sum()) for batch in whole]
    assert len(set(sums)) == len(sums)


def test_ranks_see_different_pairs(source: PairSource) -> None:
    one, other = (
        next(iter(PairDataset(source, batch_size=1, rank=rank, ranks=2))) for rank in (0, 1)
    )
    assert not torch.equal(one["sharp"], other["sharp"])
