"""Who may import whom: the table of the architecture, held on every import statement there is.

Imports inside functions and for types alone count too: what a rule overlooks would be allowed.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("firmware_bridge", "device", "host_training", "model_export")

OURS = {
    "firmware_bridge": set[str](),
    "device": {"firmware_bridge"},
    "host_training": {"device", "firmware_bridge"},
    "model_export": {"host_training", "device", "firmware_bridge"},
}
"""Packages of ours that each may import, besides itself."""

DRIVER = {"numpy", "serial", "smbus2"}
DEVICE = DRIVER | {
    "PIL", "cv2", "jinja2", "onnxruntime", "pydantic", "pydantic_core", "rich", "scipy",
    "threadpoolctl", "yaml",
}  # fmt: skip
TRAINING = DEVICE | {"matplotlib", "safetensors", "tensorboard", "torch", "torchmetrics"}
THEIRS = {
    "firmware_bridge": DRIVER,
    "device": DEVICE - {"smbus2", "serial"},
    "host_training": TRAINING,
    "model_export": TRAINING | {"google", "onnx", "onnxscript"},
}
"""Packages of others that each may import anywhere; `google` is protobuf's, for onnx."""

ADAPTERS = {
    "rawpy": {"device/frame_file.py"},
    "picamera2": {"device/capture/picamera2_open.py"},
    "libcamera": {"device/capture/picamera2_open.py"},
    "serial": {"firmware_bridge/serial_link.py", "firmware_bridge/provision.py"},
    "smbus2": {"firmware_bridge/i2c_link.py"},
    "gpiozero": {
        "device/service/gpio.py",
        "device/service/led.py",
        "device/service/shutter.py",
    },
    "lgpio": {"device/service/gpio.py"},
    "onnxruntime": {
        "device/benchmark/network_speed.py",
        "device/restore/network.py",
        "model_export/checkpoint_bundle.py",
        "model_export/quantize.py",
    },
}
"""Hardware and optional packages, and the only files that may import them."""

SCREENS = "firmware_bridge/live_commands.py"
"""The driver's tables and progress bars for the terminal: the one module of it that needs rich,
imported only when one of its commands runs."""

IMPORT_FUNCTIONS = {"import_module", "__import__", "import_camera_package"}


@dataclass(frozen=True)
class Import:
    """One imported module, the names taken from it, and where this stands."""

    file: str
    line: int
    module: str
    at_the_top: bool
    names: tuple[str, ...] = ()

    @property
    def root(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports_of(source: str, file: str) -> Iterator[Import]:
    """Every import of a module: statements, and calls by name of what imports by name."""
    tree = ast.parse(source, file)
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        parts: tuple[str, ...] = ()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{line}: a relative import hides where it leads"
            names = [node.module or ""]
            parts = tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in IMPORT_FUNCTIONS and node.args:
            first = node.args[0]
            names = [str(first.value)] if isinstance(first, ast.Constant) else []
        else:
            continue
        for name in names:
            yield Import(file, line, name, id(node) in top, parts)


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def all_imports() -> list[Import]:
    return [
        found
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for found in imports_of(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]


IMPORTS = all_imports()


def of(package: str) -> list[Import]:
    return [found for found in IMPORTS if found.file.startswith(f"{package}/")]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_looked_at(package: str) -> None:
    assert of(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_those_of_ours_they_may(package: str) -> None:
    allowed = OURS[package] | {package}
    wrong = [str(i) for i in of(package) if i.root in PACKAGES and i.root not in allowed]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_imports_the_tests(package: str) -> None:
    assert not [str(i) for i in of(package) if i.root == "tests"]


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_those_of_others_they_may(package: str) -> None:
    known = set(sys.stdlib_module_names) | set(PACKAGES) | THEIRS[package] | set(ADAPTERS)
    foreign = [i for i in of(package) if i.root not in known]
    assert not [str(i) for i in foreign if (i.file, i.root) != (SCREENS, "rich")]


def test_the_driver_itself_does_without_its_screens() -> None:
    name = Path(SCREENS).stem
    screens = [i for i in IMPORTS if name in (*i.names, i.module.rpartition(".")[2])]
    assert screens
    assert not [str(i) for i in screens if i.at_the_top]


@pytest.mark.parametrize("module", ADAPTERS)
def test_hardware_and_optional_packages_stay_in_their_adapters(module: str) -> None:
    wrong = [str(i) for i in IMPORTS if i.root == module and i.file not in ADAPTERS[module]]
    assert not wrong


@pytest.mark.parametrize(
    "module", ["rawpy", "picamera2", "libcamera", "gpiozero", "lgpio", "onnxruntime"]
)
def test_what_may_be_absent_or_is_heavy_is_imported_when_used(module: str) -> None:
    """A plain install, or one without a camera, must import every module of the device."""
    wrong = [str(i) for i in of("device") if i.root == module and i.at_the_top]
    assert not wrong


@pytest.mark.parametrize("module", ["torch", "onnx", "matplotlib", "host_training", "model_export"])
def test_the_device_never_imports(module: str) -> None:
    """It runs on a Pi that has none of these."""
    assert not [str(i) for i in (*of("device"), *of("firmware_bridge")) if i.root == module]


def test_a_plain_install_has_what_the_device_imports() -> None:
    """Each distribution that pyproject.toml lists for everyone, by the name it is imported by."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    imported_as = {
        "opencv-python-headless": "cv2", "pillow": "PIL", "pyserial": "serial", "pyyaml": "yaml",
    }  # fmt: skip
    names = [spec.partition(">")[0] for spec in project["dependencies"]]
    installed = {imported_as.get(name, name) for name in names} | {"pydantic_core"}
    assert installed == DEVICE


# The rules themselves are tried, so that they cannot hold by seeing nothing.


@pytest.mark.parametrize(
    ("source", "module", "at_the_top"),
    [
        ("import torch", "torch", True),
        ("import os, torch.nn as nn", "torch.nn", True),
        ("from torch.nn import Module", "torch.nn", True),
        ("def f():\n    import torch", "torch", False),
        ("try:\n    import torch\nexcept ImportError:\n    pass", "torch", False),
        ("import importlib\nx = importlib.import_module('torch')", "torch", False),
        ("x = __import__('torch')", "torch", False),
        ("if TYPE_CHECKING:\n    import torch", "torch", False),
    ],
)
def test_imports_are_found_wherever_they_stand(source: str, module: str, at_the_top: bool) -> None:
    found = [i for i in imports_of(source, "device/x.py") if i.root == "torch"]
    assert [(i.module, i.at_the_top) for i in found] == [(module, at_the_top)]


def test_relative_imports_are_refused() -> None:
    with pytest.raises(AssertionError, match="relative import"):
        list(imports_of("from . import psf", "device/x.py"))
