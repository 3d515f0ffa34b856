"""The networks that ship with stillpi, by the names that users give."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

ShippedModel = Literal["default", "small"]
SHIPPED_MODELS: tuple[str, ...] = get_args(ShippedModel)
MODELS = Path(__file__).resolve().parent / "models"
"""Their bundles, each in a folder of its name."""
