"""What golden.npz keeps, and how exactly."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.errors import ModelError
from device.restore.golden_tile import CODES, GoldenTile, as_kept, read_golden, write_golden
from device.restore.network import PROVIDED, RESIDUAL, Manifest, provided_shapes

TILE, HALO = 64, 8
SIDE = TILE - 2 * HALO


def manifest() -> Manifest:
    file = {"sha256": "0" * 64}
    return Manifest.model_validate(
        {
            "format": "stillpi-model",
            "version": 1,
            "name": "tiny",
            "model": {"file": "model.onnx", **file},
            "alternatives": [{"file": "model_fp32.onnx", **file}],
            "golden": {"file": "golden.npz", "tolerance_codes": 1.0, **file},
            "tile": {"size": TILE, "halo": HALO},
            "field_encoding": 1,
            "inputs": [
                {"name": name, "shape": shape, "scaling": PROVIDED[name].scaling}
                for name, shape in provided_shapes(TILE).items()
            ],
            "output": {"name": "residual", "shape": [1, 3, TILE, TILE], "scaling": RESIDUAL},
        }
    )


def tile() -> GoldenTile:
    rng = np.random.default_rng(2)
    inputs = {
        name: rng.uniform(-0.1, 1.1, shape[1:]).astype(np.float32)
        for name, shape in provided_shapes(TILE).items()
    }
    residuals = {
        file: rng.uniform(-1.0, 1.0, (3, SIDE, SIDE)).astype(np.float32)
        for file in ("model.onnx", "model_fp32.onnx")
    }
    return GoldenTile(inputs, residuals)


def test_inputs_come_back_exactly_as_they_were_run(tmp_path: Path) -> None:
    kept = as_kept(tile().inputs)
    (tmp_path / "golden.npz").write_bytes(write_golden(GoldenTile(kept, tile().residuals)))
    again = read_golden(tmp_path / "golden.npz", manifest())
    assert list(again.inputs) == list(provided_shapes(TILE))
    for name, values in again.inputs.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, kept[name])
    # What was kept is what was given, but for the rounding of a photograph's own 8 bits.
    np.testing.assert_allclose(kept["blurred"], tile().inputs["blurred"].clip(0, 1), atol=0.002)
    np.testing.assert_allclose(kept["paths"], tile().inputs["paths"], rtol=0.0005)


def test_residuals_come_back_to_a_fraction_of_a_code(tmp_path: Path) -> None:
    (tmp_path / "golden.npz").write_bytes(write_golden(tile()))
    again = read_golden(tmp_path / "golden.npz", manifest())
    for file, residual in tile().residuals.items():
        assert np.abs(again.residuals[file] - residual).max() * CODES <= 1 / 32 + 1e-4


def npz(change: Any) -> bytes:
    with np.load(io.BytesIO(write_golden(tile()))) as stored:
        arrays = dict(stored)
    change(arrays)
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


UNFIT: dict[str, tuple[bytes, str]] = {
    "no npz file": (b"golden", "golden.npz: found "),
    "a truncated one": (write_golden(tile())[:5000], "golden.npz: found "),
    "a missing input": (
        npz(lambda arrays: arrays.pop("inputs/paths")),
        "inputs/paths: found nothing, expected an array [16, 8, 8]",
    ),
    "an input of another shape": (
        npz(lambda arrays: arrays.update({"inputs/noise": np.zeros((2, 8, 8))})),
        "inputs/noise: found [2, 8, 8], expected an array [1, 8, 8]",
    ),
    "no result for one of the networks": (
        npz(lambda arrays: arrays.pop("residuals/model_fp32.onnx")),
        f"residuals/model_fp32.onnx: found nothing, expected an array [3, {SIDE}, {SIDE}]",
    ),
    "Python objects": (
        npz(lambda arrays: arrays.update({"inputs/noise": np.array([{}], object)})),
        "golden.npz: found Object arrays cannot be loaded",
    ),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_golden_tile_that_does_not_fit(tmp_path: Path, what: str) -> None:
    content, message = UNFIT[what]
    (tmp_path / "golden.npz").write_bytes(content)
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        read_golden(tmp_path / "golden.npz", manifest())
    assert "\n" not in str(caught.value)
