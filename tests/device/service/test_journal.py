"""The durable queue: what it promises after a kill, a clock jump, a full disk and damage."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from device.service.clock import Clock
from device.service.journal import Job, Journal, JournalError, Result
from device.service.names import bundle_name


def bundle(tmp_path: Path, number: int) -> Path:
    path = tmp_path / "photos" / bundle_name(number)
    path.mkdir(parents=True, exist_ok=True)
    return path


def result(tmp_path: Path, number: int) -> Result:
    photo, report = tmp_path / f"{number}.jpg", tmp_path / f"{number}.json"
    return Result(photo, report, {"model": "m"})


def take(journal: Journal, tmp_path: Path) -> int:
    number = journal.reserve()
    journal.taken(number, bundle(tmp_path, number))
    return number


def job(journal: Journal, kind: str, now_s: float = 1e9) -> Job:
    found = journal.next_job(kind, now_s)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.fixture
def journal(tmp_path: Path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def test_a_photographs_life(journal: Journal, tmp_path: Path) -> None:
    assert journal.next_job("restore", 1e9) is None
    number = take(journal, tmp_path)
    assert number == 1
    restore = job(journal, "restore")
    assert (restore.number, restore.attempts, restore.bundle) == (1, 0, bundle(tmp_path, 1))
    assert journal.next_job("spool", 1e9) is None
    journal.restored(restore, result(tmp_path, 1))
    assert journal.next_job("restore", 1e9) is None
    spool = job(journal, "spool")
    assert (spool.photo, spool.report) == (tmp_path / "1.jpg", tmp_path / "1.json")
    assert journal.removable() == []
    journal.spooled(spool, "spool/IMG_000001.jpg", push=True)
    assert journal.removable() == []  # its copy on the server is not confirmed
    journal.pushed(job(journal, "push"), "host:IMG_000001.jpg")
    (photograph,) = journal.removable()
    assert photograph.is_delivered
    assert photograph.pushed == "host:IMG_000001.jpg"
    journal.removed(1)
    assert journal.removable() == []
    assert journal.photographs()[0].state == "restored"
    assert journal.counts().backlog == 0


def test_everything_survives_opening_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        take(journal, tmp_path)
        take(journal, tmp_path)
        first = job(journal, "restore")
        journal.failed(first, "no memory")
    with Journal(path) as journal:
        assert journal.resume() == []
        again = job(journal, "restore")
        assert (again.number, again.attempts, again.last_error) == (1, 1, "no memory")
        assert journal.reserve() == 3


def test_jobs_come_by_number_whatever_the_date(tmp_path: Path) -> None:
    dates = iter([2_000, 1_000, 3_000, 500])
    clock = Clock(wall_ns=lambda: next(dates))
    with Journal(tmp_path / "journal.sqlite", clock=clock) as journal:
        numbers = [take(journal, tmp_path) for _ in range(4)]
        order = []
        while (found := journal.next_job("restore", 1e9)) is not None:
            order.append(found.number)
            journal.restored(found, result(tmp_path, found.number))
        assert order == numbers == [1, 2, 3, 4]


def test_a_number_is_never_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        first = journal.reserve()
        journal.missed(first, "no frame")
        journal.begin_after(40)
        assert journal.reserve() == 41
        journal.begin_after(7)
        assert journal.reserve() == 42
    with Journal(path) as journal:
        assert journal.reserve() == 43


def test_several_threads_reserve_different_numbers(journal: Journal) -> None:
    numbers: list[int] = []
    threads = [
        threading.Thread(target=lambda: numbers.extend(journal.reserve() for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 81))


def test_a_failed_attempt_counts_and_a_wait_does_not(journal: Journal, tmp_path: Path) -> None:
    take(journal, tmp_path)
    journal.failed(job(journal, "restore", now_s=10), "disk full", retry_at_s=50.0)
    assert journal.next_job("restore", 49) is None
    assert journal.next_due_s("restore") == 50.0
    waited = job(journal, "restore", now_s=50)
    assert (waited.attempts, waited.last_error) == (0, "disk full")
    for attempt in (1, 2, 3):
        journal.failed(job(journal, "restore", now_s=50), "crash")
        assert job(journal, "restore", now_s=50).attempts == attempt


def test_set_aside_is_delivered_as_taken(journal: Journal, tmp_path: Path) -> None:
    take(journal, tmp_path)
    journal.set_aside(job(journal, "restore"), "crashed three times", result(tmp_path, 1))
    assert journal.next_job("restore", 1e9) is None
    assert journal.counts().set_aside == 1
    assert job(journal, "spool").photo == tmp_path / "1.jpg"
    photograph = journal.photograph(1)
    assert photograph is not None
    assert (photograph.state, photograph.reason) == ("set-aside", "crashed three times")


def test_set_aside_without_a_picture_is_never_removed(journal: Journal, tmp_path: Path) -> None:
    take(journal, tmp_path)
    journal.set_aside(job(journal, "restore"), "no frame file", None)
    assert journal.next_job("spool", 1e9) is None
    assert journal.removable() == []


def test_a_restart_of_the_machine_makes_waiting_jobs_due(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path, clock=Clock(boot_id=lambda: "first")) as journal:
        take(journal, tmp_path)
        journal.failed(job(journal, "restore"), "disk full", retry_at_s=9_000.0)
    with Journal(path, clock=Clock(boot_id=lambda: "first")) as journal:
        assert journal.next_job("restore", 100) is None
    with Journal(path, clock=Clock(boot_id=lambda: "second")) as journal:
        assert journal.next_due_s("restore") == 0
        assert journal.next_job("restore", 1) is not None


def test_what_died_while_running_is_due_and_counted_apart(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        take(journal, tmp_path)
        take(journal, tmp_path)
        job(journal, "restore")
        reserved = journal.reserve()
    with Journal(path) as journal:
        assert journal.resume() == [reserved]
        again = job(journal, "restore")
        assert (again.number, again.attempts, again.interrupted) == (1, 0, 1)
        journal.failed(again, "stopped", retry_at_s=0.0)
        journal.resume()
        assert job(journal, "restore").interrupted == 1


def test_bundles_without_an_entry_are_adopted(journal: Journal, tmp_path: Path) -> None:
    known, reserved = take(journal, tmp_path), journal.reserve()
    assert journal.adopt(bundle(tmp_path, known)) is None
    assert journal.adopt(bundle(tmp_path, reserved)) == reserved
    assert journal.adopt(bundle(tmp_path, 77)) == 77
    assert journal.adopt(bundle(tmp_path, 77)) is None
    assert journal.reserve() == 78
    foreign = tmp_path / "photos" / "IMG_0005.capture"
    foreign.mkdir()
    assert journal.adopt(foreign) is None
    assert journal.counts().waiting["restore"] == 3
    adopted = journal.photograph(reserved)
    assert adopted is not None
    assert adopted.pressed.boot_id  # the moment of the press was written down by reserve()


def test_a_moved_folder_of_bundles_is_found_again(journal: Journal, tmp_path: Path) -> None:
    number = take(journal, tmp_path)
    moved = tmp_path / "elsewhere" / bundle_name(number)
    moved.parent.mkdir()
    bundle(tmp_path, number).rename(moved)
    assert journal.adopt(moved) is None
    assert job(journal, "restore").bundle == moved


def test_only_a_reserved_number_becomes_a_photograph(journal: Journal, tmp_path: Path) -> None:
    number = take(journal, tmp_path)
    with pytest.raises(ValueError, match="was not reserved"):
        journal.taken(number, bundle(tmp_path, number))
    with pytest.raises(ValueError, match="was not reserved"):
        journal.taken(99, bundle(tmp_path, 99))
    journal.missed(number, "too late")
    photograph = journal.photograph(number)
    assert photograph is not None
    assert photograph.state == "taken"


def test_dates_are_corrected_once_they_are_known(tmp_path: Path) -> None:
    marker = tmp_path / "synchronized"
    now = {"wall": 1_000_000_000, "boot": 5_000_000_000}
    clock = Clock(lambda: now["wall"], lambda: now["boot"], lambda: "this", marker.exists)
    with Journal(tmp_path / "journal.sqlite", clock=clock) as journal:
        early, late = take(journal, tmp_path), take(journal, tmp_path)
        journal.restored(job(journal, "restore"), result(tmp_path, early))
        journal.spooled(job(journal, "spool"), "spool", push=False)
        now["boot"] += 60_000_000_000
        now["wall"] = 1_800_000_000_000_000_000
        marker.touch()
        moment = clock.now()
        for photograph in journal.undated(moment):
            date_ns = moment.date_of(photograph.pressed)
            assert date_ns == now["wall"] - 60_000_000_000
            journal.dated(photograph.number, date_ns)
        assert journal.undated(moment) == []
        dated = journal.photograph(late)
        assert dated is not None
        assert dated.pressed.wall_ns == now["wall"] - 60_000_000_000
        # The report that was delivered goes out again; the other was not written yet.
        assert job(journal, "spool").number == early
        assert journal.counts().waiting == {"restore": 1, "spool": 1, "push": 0}
        assert take(journal, tmp_path) not in [p.number for p in journal.undated(clock.now())]


def test_a_date_of_another_start_stays_unknown(tmp_path: Path) -> None:
    marker = tmp_path / "synchronized"
    before = Clock(boot_id=lambda: "first", synchronised=marker.exists).now()
    marker.touch()
    after = Clock(boot_id=lambda: "second", synchronised=marker.exists).now()
    assert after.date_of(before) is None
    assert after.date_of(after) == after.wall_ns


def test_kept_photographs_are_not_removable(journal: Journal, tmp_path: Path) -> None:
    for _ in range(3):
        number = take(journal, tmp_path)
        journal.restored(job(journal, "restore"), result(tmp_path, number))
        journal.spooled(job(journal, "spool"), "spool", push=False)
    assert journal.keep(1)
    assert not journal.keep(99)
    assert [photograph.number for photograph in journal.removable()] == [2, 3]
    assert [photograph.number for photograph in journal.removable(limit=1)] == [2]
    assert journal.keep(1, False)
    assert [photograph.number for photograph in journal.removable()] == [1, 2, 3]


def test_restoring_once_more_waits_for_new_photographs(journal: Journal, tmp_path: Path) -> None:
    for _ in range(2):
        number = take(journal, tmp_path)
        journal.restored(job(journal, "restore"), result(tmp_path, number))
        journal.spooled(job(journal, "spool"), "spool", push=True)
        journal.pushed(job(journal, "push"), "host")
    new = take(journal, tmp_path)
    assert journal.restore_again([1, 2, new, 99], "models/new") == 2
    assert (journal.counts().waiting["restore"], journal.counts().again) == (3, 2)
    first = job(journal, "restore")
    assert (first.number, first.model) == (new, None)
    journal.restored(first, result(tmp_path, new))
    again = job(journal, "restore")
    assert (again.number, again.model) == (1, "models/new")
    journal.set_aside(again, "the new model fails", None)
    photograph = journal.photograph(1)
    assert photograph is not None  # its earlier result stands
    assert (photograph.state, photograph.reason) == ("restored", "the new model fails")
    assert photograph.photo == tmp_path / "1.jpg"
    journal.restored(job(journal, "restore"), result(tmp_path, 2))
    assert job(journal, "spool").number == 2


def test_what_is_requested_while_it_runs_is_done_again(journal: Journal, tmp_path: Path) -> None:
    take(journal, tmp_path)
    journal.restored(job(journal, "restore"), result(tmp_path, 1))
    running = job(journal, "spool")
    journal.dated(1, 123)
    journal.spooled(running, "spool", push=False)
    assert job(journal, "spool").number == 1


def test_results_are_cleared_only_after_every_delivery(journal: Journal, tmp_path: Path) -> None:
    take(journal, tmp_path)
    journal.restored(job(journal, "restore"), result(tmp_path, 1))
    assert journal.clearable() == []
    journal.spooled(job(journal, "spool"), "spool", push=True)
    assert journal.clearable() == []
    journal.pushed(job(journal, "push"), "host")
    assert [photograph.number for photograph in journal.clearable()] == [1]
    journal.photo_cleared(1)
    assert journal.clearable() == []


def test_a_damaged_file_is_put_aside_not_deleted(tmp_path: Path, caplog) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with Journal(path) as journal:
        assert journal.reserve() == 1
    assert (tmp_path / "journal.sqlite.damaged-1").read_bytes().startswith(b"not a database")
    assert "is damaged" in caplog.text


@pytest.fixture(scope="session")
def whole_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with Journal(folder / "journal.sqlite") as journal:
        for _ in range(40):
            take(journal, folder)
    return folder / "journal.sqlite"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40_000), st.binary(min_size=1, max_size=512))
@example(2842, b"\x80")  # a name in the schema that is no text
def test_a_file_with_wrong_bytes_opens_or_says_so(
    tmp_path_factory: pytest.TempPathFactory, whole_journal: Path, place: int, damage: bytes
) -> None:
    path = tmp_path_factory.mktemp("damage") / "journal.sqlite"
    data = bytearray(whole_journal.read_bytes())
    place %= len(data)
    data[place : place + len(damage)] = damage
    path.write_bytes(data)
    with contextlib.suppress(JournalError), Journal(path) as journal:  # never another error
        journal.resume()
        journal.reserve()
        journal.photographs()
        journal.counts()


def test_another_versions_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(JournalError, match="found version 9, expected 1"):
        Journal(path)


def test_a_full_disk_is_an_error_and_nothing_happened(journal: Journal, tmp_path: Path) -> None:
    pages = journal._file._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._file._connection.execute(f"PRAGMA max_page_count = {pages}")
    last, said = 0, ""
    while not said:
        try:
            last = take(journal, tmp_path)
        except JournalError as error:
            said = str(error)
    assert said == f"{journal.path}: database or disk is full"
    assert last > 0
    journal._file._connection.execute("PRAGMA max_page_count = 100000")
    assert [photograph.number for photograph in journal.photographs()] == list(range(1, last + 1))
    assert take(journal, tmp_path) > last


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="unable to open"):
        Journal(tmp_path / "none" / "journal.sqlite")


def _reserve_for_ever(path: Path, numbers: Path) -> None:
    with Journal(path) as journal, numbers.open("a") as told:
        while True:
            told.write(f"{journal.reserve()}\n")
            told.flush()


def test_a_number_that_was_told_survives_kill_9(tmp_path: Path) -> None:
    path, numbers = tmp_path / "journal.sqlite", tmp_path / "numbers"
    numbers.touch()
    told: list[int] = []
    context = multiprocessing.get_context("spawn")
    for round_number in range(3):
        process = context.Process(target=_reserve_for_ever, args=(path, numbers))
        process.start()
        while process.is_alive() and len(told) < 20 * (round_number + 1):
            told = [int(line) for line in numbers.read_text().split("\n")[:-1]]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    told = [int(line) for line in numbers.read_text().split("\n")[:-1]]
    assert len(set(told)) == len(told) >= 60
    with Journal(path) as journal:
        assert set(told) <= set(journal.resume())
        assert journal.reserve() > max(told)
