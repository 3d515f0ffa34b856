"""Unpack the real picamera2 and libcamera's virtual camera into a folder of their own.

    python tests/device/virtual_camera/set_up.py [FOLDER]

Nothing is installed: Debian 13's libcamera with its own Python 3.13 and C library, and
picamera2 from PyPI, are unpacked into FOLDER (450 MB; default ~/.cache/stillpi/virtual-camera) and
later run with `chroot` inside it. Needs a Debian with apt and dpkg on x86-64, root or user
namespaces, and the archives reachable; says which of them is missing and leaves nothing behind.
It ends within a quarter of an hour, whatever the network does.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from unpacking import DebianArchive, set_up, unpack_debian, unpack_wheels

DEFAULT_FOLDER = Path.home() / ".cache" / "stillpi" / "virtual-camera"
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


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    return set_up("virtual camera", folder, fill)


def fill(scratch: Path, root: Path) -> None:
    archive = DebianArchive(scratch / "apt")
    unpack_debian(archive.download(archive.needs("python3-libcamera")), root)
    wheels = ("--no-deps", *WHEELS, *OUR_WHEELS, *pydantic_core())
    unpack_wheels(scratch / "wheels", root / "site", "x86_64", *wheels)
    write_files(root)


def pydantic_core() -> list[str]:
    """pydantic takes exactly one version of its core: the pair that is installed here."""
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
