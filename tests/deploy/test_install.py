"""install.sh: what it says it would do, and its steps for real on a system of its own in a folder.

The real runs make environments with pip from a copy of this checkout. What the program depends on
is lent to them by PYTHONPATH, so that nothing is downloaded.
"""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
INSTALL = CHECKOUT / "deploy" / "install.sh"
PARTS = ("pyproject.toml", "README.md", "LICENSE", "deploy", "firmware_bridge", "device")
PARTS += ("host_training", "model_export")
TIMEOUT_S = 900.0


def _is_64_bit_debian() -> bool:
    if shutil.which("dpkg") is None:
        return False
    asked = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, check=True)
    return asked.stdout.strip() in (b"amd64", b"arm64")


pytestmark = pytest.mark.skipif(not _is_64_bit_debian(), reason="not a 64-bit Debian system")


@dataclass
class System:
    """A system in a folder: just enough of /etc to install into."""

    root: Path
    source: Path = CHECKOUT
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.source / "deploy" / "install.sh"), *arguments, "--root", str(self.root)],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )

    def files(self) -> dict[str, str]:
        """Every file and link, with what is in the small ones."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                found[name] = f"-> {path.readlink()}"
            elif path.is_file() and "/releases/" not in name:
                found[name] = path.read_text()
        return found

    @property
    def current(self) -> Path:
        return (self.root / "opt/stillpi/current").resolve()

    @property
    def releases(self) -> set[str]:
        return {path.name for path in (self.root / "opt/stillpi/releases").iterdir()}


def make_system(folder: Path, codename: str) -> System:
    etc = folder / "etc"
    etc.mkdir(parents=True)
    (etc / "os-release").write_text(f'ID=debian\nVERSION_CODENAME="{codename}"\n')
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (etc / "group").write_text("root:x:0:\nvideo:x:44:\ndialout:x:20:\n")
    return System(folder)


def fake_program(folder: Path, name: str, script: str, path: str) -> str:
    """A PATH that finds this script first."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{path}"


@pytest.mark.parametrize("codename", ["bookworm", "trixie"])
def test_a_dry_run_says_everything_and_does_nothing(tmp_path: Path, codename: str) -> None:
    system = make_system(tmp_path / "root", codename)
    before = system.files()
    done = system.run("install", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert system.files() == before
    assert len(re.findall(r"^== ", done.stdout, re.MULTILINE)) >= 9
    (pip,) = [line for line in done.stdout.splitlines() if " -m pip install " in line]
    pins = (r" numpy\<2 " in pip, r" opencv-python-headless\<4.12 " in pip)
    assert pins == ((True, True) if codename == "bookworm" else (False, False))
    assert " -m venv --system-site-packages " in done.stdout
    assert f"systemctl --root={system.root} enable stillpi.service" in done.stdout


def test_a_dry_run_on_the_machine_itself_does_nothing_either(tmp_path: Path) -> None:
    """Without --root; as any user. Only where the machine's release is one of the two."""
    before = list(Path("/opt/stillpi").glob("*/*"))
    done = subprocess.run(
        [str(INSTALL), "--dry-run"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    if "expected bookworm or trixie" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert "runuser -u stillpi -- /opt/stillpi/releases/" in done.stdout
    assert list(Path("/opt/stillpi").glob("*/*")) == before


@pytest.mark.parametrize("architecture", ["armhf", "armel", "i386"])
def test_32_bit_is_refused_with_the_reason(tmp_path: Path, architecture: str) -> None:
    system = make_system(tmp_path / "root", "bookworm")
    script, path = f"echo {architecture}", os.environ["PATH"]
    system.environment["PATH"] = fake_program(tmp_path / "bin", "dpkg", script, path)
    done = system.run("install")
    assert done.returncode == 1
    assert f"this system is 32-bit ({architecture}), and onnxruntime" in done.stderr
    assert "install the 64-bit Raspberry Pi OS" in done.stderr


def test_another_release_is_refused(tmp_path: Path) -> None:
    done = make_system(tmp_path / "root", "bullseye").run("install")
    assert done.returncode == 1
    assert "found the release bullseye, expected bookworm or trixie" in done.stderr


@pytest.mark.parametrize("wrong", [["reinstall"], ["--root", "/nowhere/at/all"], ["--force"]])
def test_wrong_words(wrong: list[str]) -> None:
    done = subprocess.run([str(INSTALL), *wrong], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.search(r"install\.sh: .*found '.*', expected ", done.stderr)


def test_upgrade_needs_something_to_upgrade(tmp_path: Path) -> None:
    done = make_system(tmp_path / "root", "trixie").run("upgrade")
    assert done.returncode == 1
    assert "nothing to upgrade: stillpi is not installed" in done.stderr


def test_shellcheck_is_content() -> None:
    program = Path(sys.executable).with_name("shellcheck")
    found = str(program) if program.exists() else shutil.which("shellcheck")
    if found is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([found, str(INSTALL)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture
def lent(tmp_path: Path) -> dict[str, str]:
    """An environment in which pip needs no network: this one's packages, without our own."""
    if os.geteuid() != 0:
        pytest.skip("useradd needs root, even for a system in a folder")
    if shutil.which("systemctl") is None:
        pytest.skip("systemctl is not installed")
    packages = tmp_path / "packages"
    packages.mkdir()
    for folder in site.getsitepackages():
        for entry in Path(folder).iterdir():
            ours = entry.name.startswith(("stillpi", "__editable__")) or entry.suffix == ".pth"
            if not ours and not (packages / entry.name).exists():
                (packages / entry.name).symlink_to(entry)
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(packages),
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads the negative option's variable so
        "OMP_NUM_THREADS": "1",
    }


def test_install_and_uninstall_for_real(tmp_path: Path, lent: dict[str, str]) -> None:
    system = make_system(tmp_path / "root", "trixie")
    system.environment = lent
    done = system.run("install")
    assert done.returncode == 0, done.stdout + done.stderr
    check_installed(system)
    assert "right: camera picamera2" in done.stdout  # the self-test's words
    check_uninstalled(system)


def check_installed(system: System) -> None:
    """The program, its configuration, its unit, its rule, its user."""
    assert system.current.is_relative_to(system.root / "opt/stillpi/releases")
    assert (system.current / "bin/stillpi").stat().st_mode & 0o111
    files, deploy = system.files(), CHECKOUT / "deploy"
    for name, original in (
        ("etc/stillpi/stillpi.yaml", "config.example.yaml"),
        ("etc/systemd/system/stillpi.service", "stillpi.service"),
        ("etc/udev/rules.d/99-stillpi-imu.rules", "99-stillpi-imu.rules"),
    ):
        assert files[name] == (deploy / original).read_text()
    assert files["usr/local/bin/stillpi"] == "-> /opt/stillpi/current/bin/stillpi"
    assert "etc/systemd/system/multi-user.target.wants/stillpi.service" in files
    assert re.search(r"^stillpi:.*:/usr/sbin/nologin$", files["etc/passwd"], re.MULTILINE)
    for group in ("video", "gpio", "i2c", "dialout"):
        assert re.search(rf"^{group}:.*:stillpi$", files["etc/group"], re.MULTILINE), group


def check_uninstalled(system: System) -> None:
    """The program goes; photographs and configuration stay."""
    configuration = (system.root / "etc/stillpi/stillpi.yaml").read_text()
    photograph = system.root / "var/lib/stillpi/photos/IMG_000001.capture"
    photograph.mkdir(parents=True)
    for _ in range(2):
        gone = system.run("uninstall")
        assert gone.returncode == 0, gone.stderr
    left = system.files()
    assert photograph.is_dir()
    assert left["etc/stillpi/stillpi.yaml"] == configuration
    assert not [name for name in left if "systemd" in name or "udev" in name or "bin" in name]
    assert not (system.root / "opt/stillpi").exists()


@pytest.mark.soak
def test_its_life_for_real(tmp_path: Path, lent: dict[str, str]) -> None:
    """Install, again, a bad upgrade, one that does not start, a good one, uninstall."""
    source = tmp_path / "checkout"
    source.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (CHECKOUT / part).is_dir() else shutil.copy
        copy(CHECKOUT / part, source / part)
    system = make_system(tmp_path / "root", "trixie")
    system.source, system.environment = source, lent

    done = system.run("install")
    assert done.returncode == 0, done.stdout + done.stderr
    check_installed(system)
    first, files = system.current, system.files()

    own = "camera: {kind: twin}\nimu: {kind: emulator}\n"
    (system.root / "etc/stillpi/stillpi.yaml").write_text(own)
    again = system.run("install")
    assert again.returncode == 0, again.stderr
    assert system.current == first
    files["etc/stillpi/stillpi.yaml"] = own  # nothing else is different, not that either
    assert system.files() == files

    shoot = source / "device/commands/shoot.py"
    good = shoot.read_text()
    shoot.write_text(good.replace("def run(", "def ran("))
    bad = system.run("upgrade")
    assert bad.returncode == 1
    assert "the self-test failed; the version in use is left as it was" in bad.stderr
    assert system.current == first
    assert system.releases == {first.name}

    shoot.write_text(good + "\n# a newer version\n")
    (source / "deploy/stillpi.service").write_text("[Service]\nExecStart=/bin/false\n")
    only_first = f"case $(readlink {system.root}/opt/stillpi/current) in *{first.name}) ;; "
    path = fake_program(
        tmp_path / "bin", "systemctl", f"{only_first}*) exit 1 ;; esac", lent["PATH"]
    )
    system.environment = {**lent, "PATH": path}
    mute = system.run("upgrade")
    assert mute.returncode == 1
    assert "the version from before is in use again" in mute.stderr
    assert system.current == first
    assert system.files() == files

    system.environment = lent
    shutil.copy(CHECKOUT / "deploy/stillpi.service", source / "deploy/stillpi.service")
    better = system.run("upgrade")
    assert better.returncode == 0, better.stdout + better.stderr
    assert system.current != first
    assert system.releases == {first.name, system.current.name}
    assert "a newer version" in next(system.current.rglob("device/commands/shoot.py")).read_text()

    check_uninstalled(system)
