from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.errors import InputError
from device.service.spool import clear_leftovers, name_in_spool, put


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    """A report and a photograph."""
    folder = tmp_path / "results"
    folder.mkdir()
    report, photo = folder / "IMG_000001.json", folder / "IMG_000001.jpg"
    report.write_text('{"number": 1}\n')
    photo.write_bytes(os.urandom(300_000))
    return report, photo


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "photos" / "IMG_000001.capture"
    folder.mkdir(parents=True)
    (folder / "frame.jpg").write_bytes(os.urandom(200_000))
    (folder / "imu.gcsv").write_text("GYROFLOW IMU LOG\n")
    (folder / "capture.json").write_text("{}\n")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted disk of 256 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a disk of 256 KB is not permitted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_arrive_under_their_names_with_their_content(
    tmp_path: Path, sources: tuple[Path, Path]
) -> None:
    spool = tmp_path / "spool"
    places = put(spool, *sources)
    assert places == (spool / "IMG_000001.json", spool / "IMG_000001.jpg")
    assert [place.read_bytes() for place in places] == [path.read_bytes() for path in sources]
    assert names(spool) == ["IMG_000001.jpg", "IMG_000001.json"]


def test_a_bundle_becomes_one_tar_that_unpacks_to_the_same_bundle(
    tmp_path: Path, bundle: Path
) -> None:
    (place,) = put(tmp_path / "spool", bundle)
    assert place.name == name_in_spool(bundle) == "IMG_000001.capture.tar"
    command = ["tar", "-xf", str(place), "-C", str(tmp_path)]
    subprocess.run(command, check=True)  # as a person unpacks it
    unpacked = tmp_path / bundle.name
    assert names(unpacked) == names(bundle)
    for name in names(bundle):
        assert (unpacked / name).read_bytes() == (bundle / name).read_bytes()


def test_putting_again_writes_nothing(
    tmp_path: Path, sources: tuple[Path, Path], bundle: Path
) -> None:
    spool = tmp_path / "spool"
    before = [(p, p.stat().st_ino, p.stat().st_mtime_ns) for p in put(spool, bundle, *sources)]
    again = [(p, p.stat().st_ino, p.stat().st_mtime_ns) for p in put(spool, bundle, *sources)]
    assert again == before


def test_another_file_of_that_name_is_not_overwritten(
    tmp_path: Path, sources: tuple[Path, Path]
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    other = spool / "IMG_000001.jpg"
    other.write_bytes(b"somebody else's")
    with pytest.raises(InputError, match=r"IMG_000001\.jpg: file: found another file .* move it"):
        put(spool, *sources)
    assert other.read_bytes() == b"somebody else's"
    put(spool, *sources, replace=True)
    assert other.read_bytes() == sources[1].read_bytes()


def test_a_full_disk_leaves_nothing_half_written(
    small_disk: Path, sources: tuple[Path, Path]
) -> None:
    report, photo = sources
    with pytest.raises(OSError, match="No space left") as full:
        put(small_disk, report, photo)
    assert full.value.filename == str(small_disk / "IMG_000001.jpg")
    assert names(small_disk) == ["IMG_000001.json"]


def test_a_read_only_disk_is_an_error_that_names_the_file(
    small_disk: Path, sources: tuple[Path, Path]
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError, match="Read-only file system") as refused:
        put(small_disk, sources[0])
    assert refused.value.filename == str(small_disk / "IMG_000001.json")
    assert sources[0].exists()


def test_a_limit_on_file_size_is_like_a_full_disk(
    tmp_path: Path, sources: tuple[Path, Path]
) -> None:
    spool, (_, photo) = tmp_path / "spool", sources
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    usual = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as full:
            put(spool, photo)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, usual)
    assert full.value.filename == str(spool / photo.name)
    assert names(spool) == []


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        put(tmp_path / "spool", tmp_path / "IMG_000009.jpg")
    assert missing.value.filename == str(tmp_path / "IMG_000009.jpg")
    assert names(tmp_path / "spool") == []


def test_killed_at_any_instant_only_whole_files_have_names(
    tmp_path: Path, sources: tuple[Path, Path]
) -> None:
    """A process puts copies for ever and is killed; what it left hidden is cleared away."""
    spool, (_, photo) = tmp_path / "spool", sources
    photo.write_bytes(os.urandom(8_000_000))
    program = (
        "import itertools, sys\nfrom pathlib import Path\nfrom device.service.spool import put\n"
        "source, spool = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "for number in itertools.count():\n"
        "    copy = source.rename(source.with_name(f'IMG_{number:06d}.jpg'))\n"
        "    put(spool, copy)\n    source = copy\n    print(number, flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(photo), str(spool)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline()
        while not list(spool.glob(".*")):  # in the middle of the next
            assert process.poll() is None
        process.kill()
    content = next(photo.parent.glob("*.jpg")).read_bytes()
    assert len(names(spool)) >= 3
    assert all(path.read_bytes() == content for path in spool.glob("IMG_*"))
    clear_leftovers(spool)
    assert all(name.startswith("IMG_") for name in names(spool))
