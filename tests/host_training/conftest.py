from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from host_training.shot import ShotOptions


@pytest.fixture(scope="session")
def small() -> ShotOptions:
    """Options for frames of 160x120 from the pictures of `photos`."""
    return ShotOptions(width=160, height=120, shrink=1, held_back=False, min_texture=2.0)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three textured pictures, a flat one and a small one."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(5)
    for name in ("a", "b", "c"):
        coarse = rng.integers(20, 236, (64, 80, 3), np.uint8)
        picture = cv2.resize(coarse, (320, 256), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    cv2.imwrite(str(folder / "flat.png"), np.full((256, 320, 3), 128, np.uint8))
    cv2.imwrite(str(folder / "small.png"), rng.integers(0, 256, (60, 80, 3), np.uint8))
    return folder


@pytest.fixture(scope="session")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phone's gyroscope for 12 s."""
    folder = tmp_path_factory.mktemp("motion") / "phone"
    folder.mkdir()
    t_ns = 10**12 + np.arange(2500, dtype=np.int64) * 4_760_000
    t_s = (t_ns - t_ns[0])[:, None] * 1e-9
    phase = np.array([0.0, 1.0, 2.0])
    gyro = 0.8 * np.sin(7 * t_s + phase) + 0.2 * np.sin(45 * t_s + 2 * phase)
    gyro *= 1 + 0.8 * np.sin(0.9 * t_s)
    np.savetxt(folder / "hand.txt", np.column_stack([t_ns, gyro]), fmt="%.9f")
    return folder.parent


@pytest.fixture(scope="session")
def big_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two textured pictures of 400x360 for training, and one that is kept for tests (c.png)."""
    folder = tmp_path_factory.mktemp("big-photos")
    rng = np.random.default_rng(6)
    for name in ("a", "b", "c"):
        coarse = rng.integers(20, 236, (90, 100, 3), np.uint8)
        picture = cv2.resize(coarse, (400, 360), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    return folder
