from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from device.errors import InputError
from device.restore.tone import from_linear
from host_training.photos import is_held_back, list_photos, read_scene, texture


def test_a_third_is_held_back_whatever_else_is_there() -> None:
    names = [Path(f"photo{i}.jpg") for i in range(2000)]
    assert np.mean([is_held_back(p) for p in names]) == pytest.approx(0.35, abs=0.03)
    assert is_held_back(Path("here/perched-osprey.jpg"))
    assert is_held_back(Path("a/photo7.jpg")) == is_held_back(Path("b/photo7.jpg"))


def test_shrinking_averages_light_not_codes(tmp_path: Path) -> None:
    checks = np.indices((40, 60)).sum(axis=0) % 2 * 255
    cv2.imwrite(str(tmp_path / "checks.png"), checks.astype(np.uint8))
    scene = read_scene(tmp_path / "checks.png", 2)
    np.testing.assert_allclose(scene, np.full((20, 30, 3), 0.5), atol=1e-6)


def test_texture_tells_sharp_from_soft(photos: Path) -> None:
    sharp = from_linear(read_scene(photos / "a.png", 1), "srgb")
    soft = cv2.GaussianBlur(sharp, (0, 0), 3)
    assert texture(sharp) > 5 * texture(np.asarray(soft, np.uint8))
    assert texture(np.full((64, 64, 3), 90, np.uint8)) == 0


def test_what_is_no_photograph_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="photographs"):
        list_photos(tmp_path)
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError, match=r"cut\.jpg: photograph"):
        read_scene(tmp_path / "cut.jpg", 2)


def test_the_shared_photographs_can_all_be_read(shared_data: Path) -> None:
    paths = list_photos(shared_data / "photos" / "camera_samples")
    assert len(paths) == 26
    scene = read_scene(paths[2], 2)
    assert scene.shape == (600, 800, 3)
    assert 0.01 < scene.mean() < 0.9
