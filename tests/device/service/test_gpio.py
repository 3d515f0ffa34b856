from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

IMPORT = """
import json, os, sys
from device.service.gpio import GpioError, import_lgpio, pin_errors, pin_factory
import_lgpio()
error = ""
try:
    with pin_errors("led", 27):
        pin_factory()
except GpioError as caught:
    error = str(caught)
here = {"cwd": os.getcwd(), "files": os.listdir(), "LG_WD": os.environ.get("LG_WD")}
print(json.dumps(here | {"error": error}))
"""


@pytest.mark.parametrize("chosen", [True, False])
def test_the_real_lgpio_leaves_the_current_folder_alone(tmp_path: Path, chosen: bool) -> None:
    """Its import changes to $LG_WD, and without one leaves a pipe where the program stands."""
    pytest.importorskip("gpiozero.pins.lgpio", reason="lgpio is not installed")
    here, pipes = tmp_path / "here", tmp_path / "pipes"
    here.mkdir()
    pipes.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "LG_WD"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    if chosen:
        environment["LG_WD"] = str(pipes)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT],
        cwd=here,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    assert found["cwd"] == str(here)
    assert found["files"] == []
    assert found["LG_WD"] == (str(pipes) if chosen else None)
    assert [path.name[:8] for path in pipes.iterdir()] == [".lgd-nfy"] * chosen
    if not Path("/dev/gpiochip0").exists():
        assert "led.pin: GPIO 27: " in found["error"]
