"""Named notices: what a photograph's report says went wrong without stopping the work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notice:
    """name : a fixed kebab-case word for programs; detail : a sentence with numbers for people."""

    name: str
    detail: str

    def to_json(self) -> dict[str, str]:
        """The form in which reports and capture.json keep it."""
        return {"name": self.name, "detail": self.detail}
