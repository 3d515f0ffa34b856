"""Unpack a Raspberry Pi's processor, emulated, and a 64-bit Arm Python with stillpi's libraries.

    python tests/device/aarch64/set_up.py [FOLDER]

Nothing is installed: QEMU 10 and Python 3.13 for arm64 come from Debian 13, the libraries from
PyPI, in the versions that this Python has, and are unpacked into FOLDER (450 MB; default
~/.cache/stillpi/aarch64). FOLDER/cortex-a72 (Pi 4) and FOLDER/cortex-a76 (Pi 5) then run Python.
Needs a Debian with apt and dpkg on x86-64 and the archives reachable; says which of them is missing
and leaves nothing behind. It ends within a quarter of an hour, whatever the network does.
"""

from __future__ import annotations

import sys
import tarfile
import tomllib
from importlib.metadata import distributions
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from unpacking import (
    PYTHON,
    DebianArchive,
    MissingError,
    run,
    set_up,
    unpack_debian,
    unpack_wheels,
)

REPOSITORY = Path(__file__).resolve().parents[3]
DEFAULT_FOLDER = Path.home() / ".cache" / "stillpi" / "aarch64"
PROCESSORS = ("cortex-a72", "cortex-a76")
QEMU = "usr/bin/qemu-aarch64"
# The wheels bring what else they need.
PACKAGES = (f"python{PYTHON}-minimal", f"libpython{PYTHON}-stdlib", "libstdc++6", "zlib1g")

# Python takes its own name for the way to start another one: so the self-test's child process,
# which this machine could not run, is emulated as well.
START = """\
#!/bin/sh
here=$(dirname "$0")
exec "$here/qemu-aarch64" -cpu {processor} -L "$here/root" -E PYTHONHOME="$here/root/usr" \\
    -0 "$0" "$here/root/usr/bin/python{python}" "$@"
"""


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    return set_up("emulated aarch64", folder.resolve(), fill)


def fill(scratch: Path, folder: Path) -> None:
    archive = DebianArchive(scratch / "apt", "arm64")
    needed = archive.needs(*(f"{name}:arm64" for name in PACKAGES))
    root = folder / "root"
    unpack_debian(archive.download([name for name in needed if name.endswith(":arm64")]), root)
    unpack_qemu(archive, folder / "qemu-aarch64")
    site = root / "usr" / "lib" / "python3" / "dist-packages"
    unpack_wheels(scratch / "wheels", site, "aarch64", *our_requirements(scratch))
    for processor in PROCESSORS:
        start = folder / processor
        start.write_text(START.format(processor=processor, python=PYTHON))
        start.chmod(0o755)
        if run(start, "-c", "import platform; print(platform.machine())") != "aarch64\n":
            raise MissingError(f"a Python that runs on an emulated {processor}")


def unpack_qemu(archive: DebianArchive, target: Path) -> None:
    """The one emulator out of a package that holds forty."""
    (package,) = archive.download(["qemu-user:amd64"])
    content = package.with_suffix(".tar")
    run("sh", "-c", 'dpkg-deb --fsys-tarfile "$0" > "$1"', package, content)
    with tarfile.open(content) as tar:
        emulator = tar.extractfile(f"./{QEMU}")
        if emulator is None:
            raise MissingError(f"{QEMU} in {package.name}")
        target.write_bytes(emulator.read())
    target.chmod(0o755)


def our_requirements(scratch: Path) -> list[str]:
    """stillpi's requirements, in the versions that are installed here."""
    constraints = scratch / "constraints.txt"
    installed = {d.name: d.version for d in distributions()}
    lines = [f"{name}=={version}\n" for name, version in installed.items() if "+" not in version]
    constraints.write_text("".join(lines))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [f"--constraint={constraints}", *project["dependencies"]]


if __name__ == "__main__":
    sys.exit(main())
