"""What `stillpi bench` measures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

COMPARED_NETWORKS = Path(__file__).parent / "compared"
"""The networks of other systems, one file each; model_export.compared makes them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure."""

    name: str
    value: float
    unit: str
    note: str = ""

    def to_json(self) -> dict[str, object]:
        """The row as plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Setting:
    """folder : for bundles and results. model : a model bundle, None for the filter alone."""

    folder: Path
    threads: int
    model: Path | None
