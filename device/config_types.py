"""What every section of the configuration is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A mapping of the file: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _path(path: Path, info: ValidationInfo) -> Path:
    text = str(path)
    if not text.isprintable() or text in ("", "."):
        raise PydanticCustomError("path", "a path")
    try:
        path = path.expanduser()
    except RuntimeError:
        raise PydanticCustomError("path", "a path of a user who exists") from None
    folder = info.context if isinstance(info.context, Path) else Path()
    return folder / path


def _none(value: object) -> object:
    return None if value == "none" else value


FilePath = Annotated[Path, Field(strict=False), AfterValidator(_path)]


def _empty(value: object) -> object:
    return {} if value is None else value


OrEmpty = BeforeValidator(_empty)
"""For a section that may be left out: its name alone, with every key behind a #, is left out."""

OrNone = BeforeValidator(_none)
"""For what may be left out: `none` says so in words."""
