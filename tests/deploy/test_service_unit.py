"""The unit and the udev rule, judged by systemd's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNIT = DEPLOY / "stillpi.service"
RULE = DEPLOY / "99-stillpi-imu.rules"
SYSTEM_UNITS = Path("/usr/lib/systemd/system")
WORST_EXPOSURE = 2.3


def tool(*command: str) -> subprocess.CompletedProcess[str]:
    """Run one of systemd's tools; the test is skipped where it is not installed."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system with systemd's own units, the program where the unit wants it, and the unit."""
    if not (SYSTEM_UNITS / "sysinit.target").exists():
        pytest.skip("systemd's units are not installed")
    shutil.copytree(SYSTEM_UNITS, tmp_path / SYSTEM_UNITS.relative_to("/"), symlinks=True)
    program = tmp_path / "opt/stillpi/current/bin/stillpi"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    shutil.copy(UNIT, units)
    return tmp_path


def verify(root: Path) -> subprocess.CompletedProcess[str]:
    return tool("systemd-analyze", f"--root={root}", "verify", "stillpi.service")


def test_systemd_has_nothing_to_say(root: Path) -> None:
    """Unknown keys are warnings with exit code 0: standard error must be empty."""
    done = verify(root)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("\nRestart=", "\nRestrat=", "Unknown key"),
        ("WatchdogSec=30", "WatchdogSec=soon", "soon"),
        ("/opt/stillpi/current", "/opt/stillpi/curent", "is not executable"),
    ],
)
def test_systemd_would_have_said_it(root: Path, right: str, wrong: str, message: str) -> None:
    unit = root / "etc/systemd/system/stillpi.service"
    text = unit.read_text()
    assert right in text
    unit.write_text(text.replace(right, wrong))
    assert message in verify(root).stderr


def test_the_sandbox() -> None:
    done = tool("systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT))
    found = re.search(r"Overall exposure level for stillpi.service: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= WORST_EXPOSURE


def test_what_the_service_relies_on() -> None:
    """Keys that no tool judges, and that a photograph depends on."""
    text = UNIT.read_text()
    for line in (
        "Type=notify",
        "WatchdogSec=30",
        "Restart=always",
        "StartLimitIntervalSec=0",
        "OOMPolicy=continue",
        "DevicePolicy=closed",
        "SupplementaryGroups=video gpio i2c dialout",
        "StateDirectory=stillpi",
        "RuntimeDirectory=stillpi",
    ):
        assert f"\n{line}\n" in text, line
    assert "LG_WD=/run/stillpi" in text


def test_the_rule_names_the_sensor_and_hurries_the_adapter() -> None:
    lines = [line for line in RULE.read_text().splitlines() if line and line[0] != "#"]
    part = re.compile(r'[A-Z_]+(\{[\w/]+\})?(==|!=|\+=|=)"[^"]*"')
    for line in lines:
        assert all(part.fullmatch(piece) for piece in line.split(", ")), line
    labels = {piece for line in lines for piece in re.findall(r'LABEL="(\w+)"', line)}
    jumps = {piece for line in lines for piece in re.findall(r'GOTO="(\w+)"', line)}
    assert jumps == labels
    # Of a parent, != holds as soon as any one of them is different: always.
    assert not [x for x in lines if re.search(r"(SUBSYSTEMS|DRIVERS|ATTRS{\w+})!=", x)]
    assert any('ATTR{latency_timer}="1"' in line for line in lines)
    assert any('SYMLINK+="imu"' in line and 'GROUP="dialout"' in line for line in lines)


def test_udev_accepts_the_rule() -> None:
    version = tool("udevadm", "--version").stdout.split()
    if int(version[0]) < 254:
        pytest.skip(f"udevadm {version[0]} cannot verify rules (254 can)")
    done = tool("udevadm", "verify", str(RULE))
    assert done.returncode == 0, done.stdout + done.stderr
