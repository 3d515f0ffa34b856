"""Retention on real folders with the real journal; the disk's free room and the date are told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from delivering import names, write_result

from device.config_service import RetentionConfig
from device.service.clock import Clock, Moment
from device.service.journal import Journal
from device.service.names import Folders, bundle_name
from device.service.records import Result
from device.service.retention import enforce, room_for_a_photograph

DAY_NS = 86_400 * 10**9
TODAY_NS = 20_000 * DAY_NS
BUNDLE_MB = 100.0


class Card:
    """Folders with delivered photographs on a disk of 1000 MB, each bundle 100 MB of it."""

    def __init__(self, folder: Path) -> None:
        self.folders = Folders(folder, folder / "photos")
        self.folders.make()
        self.wall_ns, self.marker = TODAY_NS, folder / "synchronised"
        self.marker.touch()
        clock = Clock(wall_ns=lambda: self.wall_ns, synchronised=self.marker.exists)
        self.clock, self.journal = clock, Journal(self.folders.journal, clock=clock)

    def photograph(
        self, *, days_ago: float = 0, spool: bool = True, push: bool = True, server: bool = True
    ) -> int:
        self.wall_ns = TODAY_NS - round(days_ago * DAY_NS)
        number = self.journal.reserve()
        self.wall_ns = TODAY_NS
        bundle = self.folders.photos / bundle_name(number)
        bundle.mkdir()
        (bundle / "frame.jpg").write_bytes(os.urandom(100))
        self.journal.taken(number, bundle)
        job = self.journal.next_job("restore", 0)
        assert job is not None
        report, photo = write_result(self.folders.results, number, 100)
        self.journal.restored(job, Result(photo, report))
        job = self.journal.next_job("spool", 0)
        assert job is not None
        if spool:
            write_result(self.folders.spool, number, 100)
            self.journal.spooled(job, "spool", push=server)
            job = self.journal.next_job("push", 0)
            assert (job is not None) == server
            if job is not None and push:
                self.journal.pushed(job, "server")
        return number

    def free_mb(self, folder: Path) -> float:
        return 1000 - BUNDLE_MB * len(list(self.folders.photos.glob("*.capture")))

    def enforce(self, *, now: Moment | None = None, **config: float) -> list[int]:
        settings = RetentionConfig.model_validate({"free_mb": 0, "floor_mb": 0} | config)
        now = now or self.clock.now()
        return enforce(self.journal, settings, self.folders, now, free_mb=self.free_mb)

    def here(self) -> list[int]:
        return sorted(int(path.name[4:10]) for path in self.folders.photos.glob("*.capture"))


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    card = Card(tmp_path / "card")
    yield card
    card.journal.close()


def test_nothing_goes_while_there_is_room(card: Card) -> None:
    for _ in range(3):
        card.photograph(days_ago=1000)
    assert card.enforce(free_mb=700) == []
    assert card.here() == [1, 2, 3]


def test_the_oldest_go_until_there_is_room(card: Card) -> None:
    for _ in range(6):
        card.photograph()
    assert card.enforce(free_mb=600) == [1, 2]
    assert card.here() == [3, 4, 5, 6]
    assert not list(card.folders.spool.glob("IMG_00000[12].*"))
    assert names(card.folders.photos) == [bundle_name(number) for number in (3, 4, 5, 6)]
    removed = card.journal.photograph(1)
    assert removed is not None
    assert removed.removed
    assert card.enforce(free_mb=600) == []


def test_the_order_is_by_number_not_by_date(card: Card) -> None:
    card.photograph(days_ago=1)
    card.photograph(days_ago=9000)  # before the date was known
    assert card.enforce(free_mb=900) == [1]


def test_what_is_to_be_kept_stays(card: Card) -> None:
    for _ in range(3):
        card.photograph(days_ago=100)
    card.journal.keep(2)
    assert card.enforce(free_mb=10_000, keep_days=1.0) == [1, 3]
    assert card.here() == [2]
    card.journal.keep(2, False)
    assert card.enforce(free_mb=10_000) == [2]


def test_what_is_not_delivered_stays_however_tight_it_is(card: Card) -> None:
    card.photograph(days_ago=100)
    card.photograph(days_ago=100, push=False)
    card.photograph(days_ago=100, spool=False)
    assert card.enforce(free_mb=10_000, keep_days=1.0) == [1]
    assert card.here() == [2, 3]


def test_age_counts_from_the_press(card: Card) -> None:
    for days_ago in (30.1, 29.9, 0):
        card.photograph(days_ago=days_ago)
    assert card.enforce(keep_days=30.0) == [1]


@pytest.mark.parametrize("days_off", [4000, -4000])
def test_a_clock_that_jumps_deletes_nothing(card: Card, days_off: int) -> None:
    card.photograph(days_ago=1)
    wrong = TODAY_NS + days_off * DAY_NS
    now = card.clock.now()
    assert card.enforce(keep_days=30.0, now=Moment(wrong, now.boot_ns, now.boot_id, False)) == []


def test_a_photograph_without_a_date_does_not_grow_old(card: Card) -> None:
    card.marker.unlink()
    card.photograph(days_ago=9000)
    card.marker.touch()
    assert card.enforce(keep_days=30.0) == []
    assert card.enforce(free_mb=10_000) == [1]


def test_without_a_server_only_what_was_fetched_goes_for_room(card: Card) -> None:
    """Fetched: moved out of the spool. The report alone does not keep it."""
    for _ in range(3):
        card.photograph(server=False)
    (card.folders.spool / "IMG_000002.jpg").unlink()
    assert card.enforce(free_mb=10_000) == [2]
    assert card.here() == [1, 3]
    (card.folders.spool / "IMG_000001.capture.tar").touch()
    (card.folders.spool / "IMG_000001.jpg").unlink()
    assert card.enforce(free_mb=10_000) == []


def test_without_a_server_age_goes_where_it_is_configured(card: Card) -> None:
    card.photograph(days_ago=40, server=False)
    card.photograph(days_ago=20, server=False)
    assert card.enforce(keep_days=30.0) == [1]
    assert names(card.folders.spool) == ["IMG_000002.jpg", "IMG_000002.json"]


def test_what_was_there_before_the_server_was_is_not_taken_for_pushed(card: Card) -> None:
    card.photograph(server=False)
    card.photograph()
    assert card.enforce(free_mb=10_000) == [2]


def test_a_crash_while_deleting_is_finished_later(card: Card) -> None:
    number = card.photograph()
    bundle = card.folders.photos / bundle_name(number)
    bundle.rename(bundle.with_name(f".{bundle.name}.gone"))
    assert card.enforce(free_mb=1001) == [number]
    assert names(card.folders.photos) == []


def test_a_bundle_deleted_by_hand_is_no_hindrance(card: Card) -> None:
    number = card.photograph()
    bundle = card.folders.photos / bundle_name(number)
    (bundle / "frame.jpg").unlink()
    bundle.rmdir()
    assert card.enforce(free_mb=1001) == [number]


def test_there_is_room_above_the_floor(card: Card) -> None:
    config = RetentionConfig(floor_mb=500)
    assert room_for_a_photograph(config, card.folders, free_mb=lambda _: 500.0) is None
    reason = room_for_a_photograph(config, card.folders, free_mb=lambda _: 499.0)
    assert reason == (
        f"only 499 MB are free on the disk of {card.folders.photos}, 500 MB are needed:"
        f" fetch photographs from {card.folders.spool} and delete them there"
    )


def test_either_disk_can_be_the_full_one(card: Card) -> None:
    config = RetentionConfig(floor_mb=500)
    free = {card.folders.photos: 900.0, card.folders.state: 100.0}
    reason = room_for_a_photograph(config, card.folders, free_mb=free.__getitem__)
    assert reason is not None
    assert f"the disk of {card.folders.state}" in reason


def test_a_disk_that_went_away(card: Card, tmp_path: Path) -> None:
    gone = Folders(card.folders.state, tmp_path / "not mounted")
    reason = room_for_a_photograph(RetentionConfig(floor_mb=0), gone)
    assert reason == f"{tmp_path / 'not mounted'} cannot be used: is its disk mounted?"


def test_a_small_and_then_read_only_disk(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "state", tmp_path / "disk")
    folders.make()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folders.photos)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        assert room_for_a_photograph(RetentionConfig(floor_mb=3), folders) is None
        (folders.photos / "fill").write_bytes(bytes(1_000_000))
        reason = room_for_a_photograph(RetentionConfig(floor_mb=3), folders)
        assert reason is not None
        assert reason.startswith(f"only 2 MB are free on the disk of {folders.photos}")
        subprocess.run(["mount", "-o", "remount,ro", str(folders.photos)], check=True)
        reason = room_for_a_photograph(RetentionConfig(floor_mb=1), folders)
        assert reason is not None
        assert reason.startswith(f"{folders.photos} cannot be written: its disk is read-only")
    finally:
        subprocess.run(["umount", "-l", str(folders.photos)], check=True)
