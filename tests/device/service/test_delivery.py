"""Delivery with the real journal, a real disk and a real sshd; time is told, not waited for."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from delivering import QUICK, names, push_config, wire, write_result
from sshd import Sshd

from device.config_service import DeliveryConfig, PushConfig
from device.service.delivery import BackOff, Delivery
from device.service.journal import Journal
from device.service.names import Folders, bundle_name
from device.service.records import Photograph, Result


class Camera:
    """A journal with photographs that are restored, their delivery, and a clock."""

    def __init__(self, folder: Path, push: PushConfig | None = None, *, bundle: bool = False):
        self.folders = Folders(folder / "state", folder / "state" / "photos")
        self.folders.make()
        self.journal = Journal(self.folders.journal)
        self.now_s = 1000.0
        self.start(push, bundle=bundle)

    def start(self, push: PushConfig | None, *, bundle: bool = False) -> None:
        config = DeliveryConfig(bundle=bundle, push=push)
        self.delivery = Delivery(config, self.folders, now_s=lambda: self.now_s, patience=QUICK)

    def photograph(self, size: int = 50_000) -> int:
        """Take and restore one."""
        number = self.journal.reserve()
        bundle = self.folders.photos / bundle_name(number)
        bundle.mkdir()
        (bundle / "frame.jpg").write_bytes(os.urandom(10_000))
        (bundle / "imu.gcsv").write_text("GYROFLOW IMU LOG\n")
        self.journal.taken(number, bundle)
        self.restore(number, size)
        return number

    def restore(self, number: int, size: int = 50_000) -> None:
        job = self.journal.next_job("restore", self.now_s)
        assert job is not None
        assert job.number == number
        older = self.folders.results / f"IMG_{number:06d}.json"
        about = json.loads(older.read_text())["photograph"] if older.exists() else None
        report, photo = write_result(self.folders.results, number, size)
        if about is not None:
            report.write_text(json.dumps({"photograph": about, "model": "newer"}))
        self.journal.restored(job, Result(photo, report))

    def work(self, steps: int = 100) -> float:
        """Step until nothing is due; how long it may rest then."""
        for _ in range(steps):
            rest_s = self.delivery.step(self.journal)
            if rest_s > 0:
                return rest_s
        raise AssertionError("there is always more to do")

    def known(self, number: int) -> Photograph:
        photograph = self.journal.photograph(number)
        assert photograph is not None
        return photograph

    def spooled(self) -> list[str]:
        return names(self.folders.spool)


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[Camera]:
    camera = Camera(tmp_path)
    yield camera
    camera.journal.close()


def content_is_right(camera: Camera, number: int, folder: Path) -> bool:
    photo = f"IMG_{number:06d}.jpg"
    return (folder / photo).read_bytes() == (camera.folders.results / photo).read_bytes()


def test_photographs_land_in_the_spool(camera: Camera) -> None:
    numbers = [camera.photograph() for _ in range(3)]
    assert camera.work() == 60.0
    assert camera.spooled() == [
        f"IMG_{number:06d}.{suffix}" for number in numbers for suffix in ("jpg", "json")
    ]
    assert all(content_is_right(camera, number, camera.folders.spool) for number in numbers)
    assert all(camera.known(number).is_delivered for number in numbers)


def test_bundles_come_along_where_wanted(tmp_path: Path) -> None:
    camera = Camera(tmp_path, bundle=True)
    number = camera.photograph()
    camera.work()
    with tarfile.open(camera.folders.spool / f"IMG_{number:06d}.capture.tar") as archive:
        assert sorted(archive.getnames()) == [
            f"IMG_{number:06d}.capture/frame.jpg", f"IMG_{number:06d}.capture/imu.gcsv",
        ]  # fmt: skip
    camera.journal.close()


def test_a_bundle_deleted_by_hand_does_not_hold_up_its_photograph(
    sshd: Sshd, tmp_path: Path
) -> None:
    camera = Camera(tmp_path, push_config(sshd), bundle=True)
    number = camera.photograph()
    shutil.rmtree(camera.folders.photos / bundle_name(number))
    camera.work()
    assert camera.known(number).is_delivered
    assert names(sshd.inbox) == camera.spooled() == ["IMG_000001.jpg", "IMG_000001.json"]
    camera.journal.close()


def test_a_crash_between_copying_and_the_journal_costs_nothing(camera: Camera) -> None:
    """Even when the report was corrected before the next start."""
    number = camera.photograph()
    report, photo = (camera.folders.results / f"IMG_{number:06d}.{s}" for s in ("json", "jpg"))
    for path in (report, photo):
        shutil.copy(path, camera.folders.spool)
    report.write_text(json.dumps(json.loads(report.read_text()) | {"date": "known"}))
    camera.work()
    assert camera.spooled() == [photo.name, report.name]
    assert (camera.folders.spool / report.name).read_bytes() == report.read_bytes()
    assert camera.known(number).is_delivered


def test_a_name_that_is_taken_holds_up_its_own_photograph_only(
    camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = camera.photograph(), camera.photograph()
    other = camera.folders.spool / f"IMG_{first:06d}.jpg"
    other.write_bytes(b"not ours")
    with caplog.at_level(logging.WARNING):
        assert 0 < camera.work() <= 300
    assert other.read_bytes() == b"not ours"
    assert camera.known(second).is_delivered
    assert "another file of that name" in (camera.journal.last_error("spool") or "")
    assert "move it away" in caplog.text
    other.unlink()
    camera.now_s += 301
    camera.work()
    assert camera.known(first).is_delivered


def test_a_newer_restoration_replaces_the_older(camera: Camera) -> None:
    number = camera.photograph()
    camera.work()
    assert camera.journal.restore_again([number]) == 1
    camera.restore(number)
    camera.work()
    assert content_is_right(camera, number, camera.folders.spool)
    report = json.loads((camera.folders.spool / f"IMG_{number:06d}.json").read_text())
    assert report["model"] == "newer"


def test_a_photograph_set_aside_and_then_restored_is_there_once(camera: Camera) -> None:
    """Its suffix changes: the camera's own file was a DNG."""
    number = camera.journal.reserve()
    bundle = camera.folders.photos / bundle_name(number)
    bundle.mkdir()
    camera.journal.taken(number, bundle)
    job = camera.journal.next_job("restore", camera.now_s)
    assert job is not None
    report, photo = write_result(camera.folders.results, number)
    camera.journal.set_aside(job, "broken", Result(photo.rename(photo.with_suffix(".dng")), report))
    camera.work()
    assert camera.spooled() == ["IMG_000001.dng", "IMG_000001.json"]
    camera.journal.restore_again([number])
    camera.restore(number)
    camera.work()
    assert camera.spooled() == ["IMG_000001.jpg", "IMG_000001.json"]


def test_a_corrected_date_goes_out_after_the_photograph_was_cleared(camera: Camera) -> None:
    number = camera.photograph()
    camera.work()
    report, photo = (camera.folders.results / f"IMG_{number:06d}.{s}" for s in ("json", "jpg"))
    camera.journal.photo_cleared(number)
    photo.unlink()
    corrected = json.loads(report.read_text()) | {"date": "known"}
    report.write_text(json.dumps(corrected))
    camera.journal.dated(number, 10**18)
    camera.work()
    delivered = camera.folders.spool / report.name
    assert json.loads(delivered.read_text()) == corrected
    assert (camera.folders.spool / photo.name).exists()


def test_a_result_that_is_gone_is_restored_again(camera: Camera) -> None:
    number = camera.photograph()
    (camera.folders.results / f"IMG_{number:06d}.jpg").unlink()
    camera.work()
    assert "is gone: the photograph is restored again" in camera.journal.last_error("spool")  # type: ignore[operator]
    camera.restore(number)
    camera.work()
    assert content_is_right(camera, number, camera.folders.spool)


def test_a_result_that_is_gone_with_its_bundle_says_what_to_do(camera: Camera) -> None:
    number = camera.photograph()
    bundle = camera.known(number).bundle
    assert bundle is not None
    shutil.rmtree(bundle)
    (camera.folders.results / f"IMG_{number:06d}.jpg").unlink()
    camera.work()
    assert "put one of them back" in (camera.journal.last_error("spool") or "")
    assert not camera.known(number).is_delivered


def test_the_report_of_a_removed_photograph_is_not_delivered_again(camera: Camera) -> None:
    number = camera.photograph()
    camera.work()
    camera.journal.removed(number)
    for path in camera.folders.spool.iterdir():
        path.unlink()
    camera.journal.dated(number, 10**18)
    camera.work()
    assert camera.spooled() == []
    assert camera.known(number).is_delivered


def test_a_full_disk_makes_all_wait_and_then_go_on(tmp_path: Path) -> None:
    camera = Camera(tmp_path)
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(camera.folders.spool)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        full = camera.folders.spool / "something"
        full.write_bytes(bytes(180_000))
        numbers = [camera.photograph(), camera.photograph()]
        assert camera.work() == pytest.approx(5)
        error = camera.journal.last_error("spool") or ""
        assert "No space left on device: fetch photographs from" in error
        camera.now_s += 5
        assert camera.work() == pytest.approx(10)
        assert all(name.endswith(".json") or name == "something" for name in camera.spooled())
        full.unlink()
        camera.now_s += 10
        assert camera.work() == 60
        assert all(content_is_right(camera, number, camera.folders.spool) for number in numbers)
        subprocess.run(["mount", "-o", "remount,ro", str(camera.folders.spool)], check=True)
        camera.photograph()
        assert camera.work() == pytest.approx(5)
        assert "Read-only file system: the card may be failing" in (
            camera.journal.last_error("spool") or ""
        )
    finally:
        subprocess.run(["umount", "-l", str(camera.folders.spool)], check=True)
        camera.journal.close()


def test_photographs_arrive_on_the_server(sshd: Sshd, tmp_path: Path) -> None:
    camera = Camera(tmp_path, push_config(sshd), bundle=True)
    numbers = [camera.photograph() for _ in range(3)]
    camera.work()
    for number in numbers:
        assert content_is_right(camera, number, sshd.inbox)
        assert camera.known(number).pushed == f"{sshd.user}@127.0.0.1:{sshd.inbox}"
        assert camera.known(number).is_delivered
    assert names(sshd.inbox) == camera.spooled()
    assert len(camera.spooled()) == 9
    assert names(camera.folders.work) == []
    camera.journal.close()


def test_a_server_that_is_down_and_comes_back(
    sshd: Sshd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camera = Camera(tmp_path, push_config(sshd))
    sshd.stop()
    numbers = [camera.photograph() for _ in range(3)]
    with caplog.at_level(logging.INFO):
        for wait_s in (5, 10, 20, 40, 80, 160, 300, 300):
            assert camera.work() == pytest.approx(min(wait_s, 60))
            camera.now_s += wait_s
            numbers.append(camera.photograph())  # reaches the spool at once
    assert caplog.text.count("nothing listens on port") == 1  # told once, not at every try
    assert "nothing listens on port" in (camera.journal.last_error("push") or "")
    assert camera.delivery.needs_person is None
    assert not any(camera.known(number).is_delivered for number in numbers)
    assert len(camera.spooled()) == 20
    sshd.start()
    with caplog.at_level(logging.INFO):
        assert camera.work() == 60
    assert "pushing: works again" in caplog.text
    assert all(content_is_right(camera, number, sshd.inbox) for number in numbers)
    camera.journal.close()


def test_another_cameras_name_holds_up_its_own_photograph_only(sshd: Sshd, tmp_path: Path) -> None:
    camera = Camera(tmp_path, push_config(sshd))
    first, second = camera.photograph(), camera.photograph()
    theirs = sshd.inbox / f"IMG_{first:06d}.jpg"
    theirs.write_bytes(b"theirs")
    camera.work()
    assert theirs.read_bytes() == b"theirs"
    assert camera.known(second).is_delivered
    assert "is there already with other content" in (camera.journal.last_error("push") or "")
    theirs.unlink()
    camera.now_s += 301
    camera.work()
    assert content_is_right(camera, first, sshd.inbox)
    camera.journal.close()


def test_a_changed_host_key_stops_pushing_until_it_is_mended(sshd: Sshd, tmp_path: Path) -> None:
    camera = Camera(tmp_path, push_config(sshd))
    sshd.change_host_key()
    number = camera.photograph()
    camera.work()
    assert "ssh-keygen -R" in (camera.journal.last_error("push") or "")
    assert "ssh-keygen -R" in (camera.delivery.needs_person or "")
    assert names(sshd.inbox) == []
    sshd.trust()
    camera.now_s += 5
    camera.work()
    assert camera.delivery.needs_person is None
    assert content_is_right(camera, number, sshd.inbox)
    camera.journal.close()


def test_a_session_cut_in_a_file_is_repeated(sshd: Sshd, tmp_path: Path) -> None:
    with wire(sshd, 800_000, sshd.end_sessions) as config:
        camera = Camera(tmp_path, config)
        number = camera.photograph(1_500_000)
        assert camera.work() == pytest.approx(5)
        assert "the connection was cut" in (camera.journal.last_error("push") or "")
    assert f"IMG_{number:06d}.jpg" not in names(sshd.inbox)
    camera.start(push_config(sshd))  # as after a new start of the service
    camera.now_s += 5
    camera.work()
    assert content_is_right(camera, number, sshd.inbox)
    assert names(sshd.inbox) == camera.spooled()
    camera.journal.close()


def test_stopping_ends_a_push_and_its_job_is_due_again(sshd: Sshd, tmp_path: Path) -> None:
    frozen = threading.Event()

    def freeze() -> None:
        sshd.freeze_sessions()
        frozen.set()

    with wire(sshd, 300_000, freeze) as config:
        camera = Camera(tmp_path, config)
        number = camera.photograph(1_500_000)
        assert camera.delivery.step(camera.journal) == 0.0
        pushing = threading.Thread(target=camera.delivery.step, args=(camera.journal,))
        pushing.start()
        assert frozen.wait(20)
        begin_s = time.monotonic()
        camera.delivery.stop()
        pushing.join(20)
        assert not pushing.is_alive()
        assert time.monotonic() - begin_s < 4  # not the server's patience
        sshd.end_sessions()
    assert camera.journal.last_error("push") is None
    camera.start(push_config(sshd))
    camera.work()
    assert content_is_right(camera, number, sshd.inbox)
    camera.journal.close()


def test_a_server_that_is_no_longer_configured_is_not_waited_for(
    sshd: Sshd, tmp_path: Path
) -> None:
    camera = Camera(tmp_path, push_config(sshd))
    sshd.stop()
    number = camera.photograph()
    camera.work()
    assert not camera.known(number).is_delivered
    camera.start(None)
    camera.now_s += 5
    camera.work()
    assert camera.known(number).is_delivered
    assert camera.known(number).pushed is None
    camera.journal.close()


def test_what_was_spooled_before_there_was_a_server_is_pushed_once(
    sshd: Sshd, tmp_path: Path
) -> None:
    """What is still there: one was fetched and taken away, one deleted by retention."""
    camera = Camera(tmp_path)
    first, fetched, removed, last = (camera.photograph() for _ in range(4))
    camera.work()
    content = {n: (camera.folders.results / f"IMG_{n:06d}.jpg").read_bytes() for n in (first, last)}
    for photograph in camera.journal.clearable():  # as the service does: only the spool has it
        assert photograph.photo is not None
        camera.journal.photo_cleared(photograph.number)
        photograph.photo.unlink()
    (camera.folders.spool / f"IMG_{fetched:06d}.jpg").unlink()
    camera.journal.removed(removed)
    for path in camera.folders.spool.glob(f"IMG_{removed:06d}.*"):
        path.unlink()

    camera.start(push_config(sshd), bundle=True)
    camera.work()
    there = [
        f"IMG_{n:06d}.{suffix}" for n in (first, last) for suffix in ("capture.tar", "jpg", "json")
    ]
    assert names(sshd.inbox) == there
    for number in (first, last):
        assert (sshd.inbox / f"IMG_{number:06d}.jpg").read_bytes() == content[number]
    assert all(camera.known(n).is_delivered for n in (first, fetched, removed, last))

    for path in sshd.inbox.iterdir():  # whoever runs the server takes them
        path.unlink()
    camera.start(push_config(sshd))
    camera.work()
    assert names(sshd.inbox) == []
    camera.journal.close()


def test_a_server_that_accepts_and_never_answers_holds_up_the_server_only(
    sshd: Sshd, tmp_path: Path
) -> None:
    """Its connections are taken by the kernel; nobody ever says a word on them."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        camera = Camera(tmp_path, push_config(sshd, port=silent.getsockname()[1]))
        numbers = [camera.photograph()]
        begin_s = time.monotonic()
        assert camera.work() == pytest.approx(5)
        assert time.monotonic() - begin_s < 30
        error = camera.journal.last_error("push") or ""
        assert "the server does not answer" in error
        assert "is it on, does something between block port" in error
        numbers.append(camera.photograph())  # taken and spooled all the same
        camera.work()
        assert len(camera.spooled()) == 4
    camera.start(push_config(sshd))
    camera.now_s += 5
    camera.work()
    assert all(content_is_right(camera, number, sshd.inbox) for number in numbers)
    camera.journal.close()


def test_waiting_grows_to_its_limit_and_begins_anew() -> None:
    waits = BackOff(5.0, 300.0)
    assert [waits.failed(0.0) for _ in range(8)] == [5, 10, 20, 40, 80, 160, 300, 300]
    assert not waits.is_over(299)
    assert waits.is_over(300)
    waits.succeeded()
    assert waits.is_over(0)
    assert waits.failed(100.0) == 105
