"""`stillpi inspect`: one page that needs nothing else, with and without a restoration."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from device import cli
from device.notices import Notice

Make = Callable[..., Path]
VOID = {"meta", "img", "input", "br", "link", "rect", "line", "polyline", "circle"}


class Page(HTMLParser):
    """Collects what a page loads and checks that its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.loaded += [value for name, value in attributes if name == "src" and value]
        assert tag != "link"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def pictures(self) -> list[Image.Image]:
        """Every picture of the page, decoded; all of them are inside it."""
        found: list[Image.Image] = []
        for address in self.loaded:
            assert re.match(r"data:image/(jpeg|png);base64,", address)
            data = base64.b64decode(address.partition(",")[2])
            found.append(Image.open(io.BytesIO(data)))
            found[-1].load()
        return found


def inspect(bundle: Path, target: Path, *more: object) -> Page:
    assert cli.main(["inspect", str(bundle), "-o", str(target), *map(str, more)]) == 0
    return Page(target.read_text(encoding="utf-8"))


def test_the_page_shows_everything(make_bundle: Make, tmp_path: Path) -> None:
    page = inspect(make_bundle(), tmp_path / "page.html")
    # Orientation 6: a viewer turns the 64 x 48 frame, so must the page.
    sizes = [picture.size for picture in page.pictures()]
    assert sizes[:3] == [(48, 64)] * 3  # restored, photograph, paths
    assert len(sizes) == 4  # and the sheet of PSFs
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("<polyline") == 3
    assert "first row" in text
    assert "last row" in text
    assert "http" not in re.sub(r"data:image/[^\"]*", "", text)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_pictures_of_the_field_can_be_had_apart(make_bundle: Make, tmp_path: Path) -> None:
    names = ("--field", tmp_path / "field.png", "--psfs", tmp_path / "psfs.png")
    inspect(make_bundle(), tmp_path / "page.html", *names)
    with Image.open(tmp_path / "field.png") as field:
        assert field.size == (64, 48)
    with Image.open(tmp_path / "psfs.png") as psfs:
        assert psfs.mode == "L"


@pytest.mark.parametrize("span_s", [(5.5, 6.0), (4.0, 4.0)], ids=["late log", "empty log"])
def test_without_motion_the_photograph_and_the_reason_are_shown(
    make_bundle: Make, make_samples: Callable[..., Any], tmp_path: Path, span_s: tuple[float, float]
) -> None:
    page = inspect(make_bundle(samples=make_samples(*span_s)), tmp_path / "page.html")
    assert len(page.pictures()) == 1
    assert "not restored" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_the_camera_noticed_is_on_the_page_and_escaped(
    make_bundle: Make, tmp_path: Path
) -> None:
    noticed = [Notice("imu-gap", "3 samples <lost> & gone")]
    inspect(make_bundle(warnings=noticed), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("3 samples &lt;lost&gt; &amp; gone") == 1


def test_a_broken_bundle_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(tmp_path / "absent.capture")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
