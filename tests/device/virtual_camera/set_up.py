"""Unpack the real picamera2 and libcamera's virtual camera into a folder of their own.

    python tests/device/virtual_camera/set_up.py [FOLDER]

Nothing is installed: Debian 13's libcamera with its own Python 3.13 and C library, and
picamera2 from PyPI, are unpacked into FOLDER (450 MB; default ~/.cache/stillpi/virtual-camera) and
later run with `chroot` inside it. Needs a Debian with apt and dpkg on x86-64, root or user
namespaces, and the archives reachable; says which of them is missing and leaves nothing behind.
It ends within a quarter of an hour, whatever the network does.
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
from pathlib import Path

DEFAULT_FOLDER = Path.home() / ".cache" / "stillpi" / "virtual-camera"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LONGEST_S = 900.0
SUITE = "trixie"
PICAMERA2 = "picamera2==0.3.38"
# Of its requirements those that are imported before anything is recorded or previewed.
WHEELS = (PICAMERA2, "av", "numpy", "piexif", "pillow", "simplejpeg", "tqdm", "videodev2")
# And what stillpi's capture needs.
OUR_WHEELS = ("annotated-types", "opencv-python-headless", "pyyaml", "typing-inspection")

# Imported by picamera2 at its start, used by nothing here: a preview window, thread names, DNG.
STUBS = {
    "pykms.py": "class _Names(type):\n    def __getattr__(cls, name):\n        return name\n\n\n"
    "class PixelFormat(metaclass=_Names):\n    pass\n",
    "prctl.py": "",
    "pidng/__init__.py": "",
    "pidng/camdefs.py": "class Picamera2Camera:\n    pass\n",
    "pidng/core.py": "class PICAM2DNG:\n    pass\n",
}
CAMERA = """\
"Virtual0":
  supported_formats:
  - width: 1280
    height: 720
    frame_rates:
    - 30
  test_pattern: "bars"
  location: "CameraLocationFront"
  model: "imx477"
"""
TUNING = """\
{"version": 2.0, "target": "bcm2835", "algorithms": [
  {"rpi.contrast": {"ce_enable": 1, "gamma_curve": [0, 0, 1024, 5040, 2048, 9338, 65535, 65535]}}
]}
"""


END_S = time.monotonic() + LONGEST_S


class MissingError(Exception):
    """Something this machine does not have."""


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    if (folder / "ready").is_file():
        print(f"{folder}: already set up")
        return 0
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as scratch:
            root = Path(scratch) / "root"
            unpack_debian(Path(scratch) / "apt", root)
            unpack_wheels(Path(scratch) / "wheels", root / "site")
            write_files(root)
            (root / "ready").touch()
            shutil.rmtree(folder, ignore_errors=True)
            root.rename(folder)
    except (MissingError, OSError) as missing:
        print(f"virtual camera not set up, its tests are skipped: {missing}", file=sys.stderr)
        return 1
    print(f"{folder}: ready")
    return 0


def run(*command: object) -> str:
    words = [str(word) for word in command]
    left_s = max(END_S - time.monotonic(), 0.0)
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


def unpack_debian(work: Path, root: Path) -> None:
    """python3-libcamera and all it needs, without touching the machine's own apt."""
    if platform.machine() != "x86_64":
        raise MissingError(f"an x86-64 machine, this is {platform.machine()}")
    if not KEYRING.is_file():
        raise MissingError(f"{KEYRING} (package debian-archive-keyring)")
    for name in ("lists/partial", "archives/partial", "debs"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    sources = work / "debian.sources"
    sources.write_text(
        f"Types: deb\nURIs: {debian_mirror()}\nSuites: {SUITE}\nComponents: main\n"
        f"Signed-By: {KEYRING}\n"
    )
    options = [
        f"-oDir::Etc::sourcelist={sources}",
        "-oDir::Etc::sourceparts=/nonexistent",
        f"-oDir::State::lists={work / 'lists'}",
        f"-oDir::State::status={work / 'status'}",
        f"-oDir::Cache={work}",
        "-oAPT::Architecture=amd64",
        "-oAcquire::Languages=none",
    ]
    run("apt-get", *options, "update")
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    needs = run(
        "apt-cache", *options, "depends", "--recurse", *(f"--no-{kind}" for kind in kinds),
        "python3-libcamera",
    )  # fmt: skip
    packages = sorted({line for line in needs.splitlines() if line[:1].isalnum()})
    here = Path.cwd()
    os.chdir(work / "debs")  # apt-get download knows no other way to say where to
    try:
        run("apt-get", *options, "download", *packages)
    finally:
        os.chdir(here)
    root.mkdir()
    for package in sorted((work / "debs").glob("*.deb")):
        run("dpkg-deb", "-x", package, root)
    for name in ("bin", "lib", "lib64", "sbin"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")


def debian_mirror() -> str:
    """Where this machine gets its Debian from."""
    found = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
    for uri in found.split():
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise MissingError("a Debian archive in this machine's apt sources")


def unpack_wheels(work: Path, site: Path) -> None:
    platforms = ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64", "any")
    run(
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
        "--python-version=3.13", *(f"--platform={name}" for name in platforms),
        "--dest", work, *WHEELS, *OUR_WHEELS, *pydantic_core(),
    )  # fmt: skip
    for wheel in sorted(work.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)


def pydantic_core() -> list[str]:
    """pydantic takes exactly one version of its core: the pair that is installed here."""
    from importlib.metadata import version

    typing = f"typing-extensions=={version('typing-extensions')}"
    return [
        f"pydantic=={version('pydantic')}",
        f"pydantic-core=={version('pydantic-core')}",
        typing,
    ]


def write_files(root: Path) -> None:
    for name, text in STUBS.items():
        path = root / "stubs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shared = root / "usr" / "share" / "libcamera"
    for path, text in (
        (shared / "pipeline" / "virtual" / "virtual.yaml", CAMERA),
        (shared / "ipa" / "rpi" / "vc4" / "imx477.json", TUNING),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "tmp").mkdir(exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())
