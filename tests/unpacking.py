"""Packages of Debian and PyPI unpacked into a folder of their own: nothing is installed.

Failure policy: what this machine lacks is a MissingError that names it; nothing is left behind, and
it ends within a quarter of an hour, whatever the network does.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITE = "trixie"
PYTHON = "3.13"
"""Trixie's, which wheels are taken for."""
LONGEST_S = 900.0
READY = "ready"
"""A file in a folder that is whole."""
_MANYLINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux2014", "manylinux_2_17")
_END_S = time.monotonic() + LONGEST_S


class MissingError(Exception):
    """Something this machine does not have."""


def set_up(what: str, folder: Path, fill: Callable[[Path, Path], None]) -> int:
    """Fill a new folder unless it is there: fill(scratch, folder). The script's exit code."""
    if (folder / READY).is_file():
        print(f"{folder}: already set up")
        return 0
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            fill(Path(scratch), new)
            (new / READY).touch()
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
    except (MissingError, OSError) as missing:
        print(f"{what} not set up, its tests are skipped: {missing}", file=sys.stderr)
        return 1
    print(f"{folder}: ready")
    return 0


def run(*command: object) -> str:
    """What a command prints. Raises MissingError with its last words when it fails."""
    words = [str(word) for word in command]
    left_s = max(_END_S - time.monotonic(), 0.0)
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=left_s)
    except FileNotFoundError:
        raise MissingError(f"no {words[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise MissingError(f"{words[0]} found no answer in time ({LONGEST_S:.0f} s)") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["no message"]
        raise MissingError(f"{words[0]} failed: {lines[-1]}") from None
    return done.stdout


class DebianArchive:
    """Debian's packages for this x86-64 machine and for others, apart from its own apt."""

    def __init__(self, work: Path, *others: str) -> None:
        if platform.machine() != "x86_64":
            raise MissingError(f"an x86-64 machine, this is {platform.machine()}")
        if not KEYRING.is_file():
            raise MissingError(f"{KEYRING} (package debian-archive-keyring)")
        self._debs = work / "debs"
        for name in ("lists/partial", "archives/partial", "debs"):
            (work / name).mkdir(parents=True)
        (work / "status").touch()
        sources = work / "debian.sources"
        sources.write_text(
            f"Types: deb\nURIs: {_debian_mirror()}\nSuites: {SUITE}\nComponents: main\n"
            f"Signed-By: {KEYRING}\n"
        )
        self._options = [
            f"-oDir::Etc::sourcelist={sources}",
            "-oDir::Etc::sourceparts=/nonexistent",
            f"-oDir::State::lists={work / 'lists'}",
            f"-oDir::State::status={work / 'status'}",
            f"-oDir::Cache={work}",
            "-oAPT::Architecture=amd64",
            *(f"-oAPT::Architectures::={name}" for name in ("amd64", *others)),
            "-oAcquire::Languages=none",
        ]
        run("apt-get", *self._options, "update")

    def needs(self, *packages: str) -> list[str]:
        """These packages and all they depend on; those of other machines as NAME:ARCHITECTURE."""
        kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
        without = [f"--no-{kind}" for kind in kinds]
        found = run("apt-cache", *self._options, "depends", "--recurse", *without, *packages)
        return sorted({line for line in found.splitlines() if line[:1].isalnum()})

    def download(self, packages: Sequence[str]) -> list[Path]:
        """The files of these packages."""
        before = set(self._debs.glob("*.deb"))
        here = Path.cwd()
        os.chdir(self._debs)  # apt-get download knows no other way to say where to
        try:
            run("apt-get", *self._options, "download", *packages)
        finally:
            os.chdir(here)
        return sorted(set(self._debs.glob("*.deb")) - before)


def _debian_mirror() -> str:
    """Where this machine gets its Debian from."""
    found = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
    for uri in found.split():
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise MissingError("a Debian archive in this machine's apt sources")


def unpack_debian(packages: Sequence[Path], root: Path) -> None:
    """Unpack packages one over the other into a new root."""
    root.mkdir(exist_ok=True)
    for package in packages:
        run("dpkg-deb", "-x", package, root)
    for name in ("bin", "lib", "lib64", "sbin"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")


def unpack_wheels(work: Path, site: Path, machine: str, *wanted: str) -> None:
    """Unpack PyPI's wheels for a machine ("x86_64", "aarch64"); wanted : arguments of pip."""
    platforms = [f"--platform={name}_{machine}" for name in _MANYLINUX]
    run(
        sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:",
        f"--python-version={PYTHON}", *platforms, "--platform=any", "--dest", work, *wanted,
    )  # fmt: skip
    for wheel in sorted(work.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
