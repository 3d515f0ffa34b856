"""Restorations in real child processes: whole ones, and those that crash, hang and eat memory."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from waiting import until

from device.bundle import read_bundle
from device.config import Config, load_config
from device.service.clock import Clock
from device.service.identity import sha256_of
from device.service.journal import Journal
from device.service.names import Folders, bundle_name
from device.service.restorer import MOST_INTERRUPTED, Restorer

CRASHES = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
HANGS = "import time; time.sleep(600)"
QUICK = (
    "import json, pathlib, sys\n"
    "photo = pathlib.Path(json.load(sys.stdin)['target'])\n"
    "photo.write_bytes(b'a photograph')\n"
    'photo.with_suffix(\'.json\').write_text(\'{"warnings": [], "motion": {"rows": 48}}\')'
)
NO_ROOM = "import sys; print('photo.jpg: No space left on device', file=sys.stderr); sys.exit(4)"


class Bench:
    """A journal with photographs to restore, and the restorer for them."""

    def __init__(self, tmp_path: Path, make_bundle: Callable[..., Path]) -> None:
        self.make_bundle, self.tmp_path = make_bundle, tmp_path
        self.folders = Folders(tmp_path / "state", tmp_path / "state" / "photos")
        self.folders.make()
        self.marker = tmp_path / "synchronized"
        self.clock = Clock(synchronised=self.marker.exists)
        self.journal = Journal(self.folders.journal, clock=self.clock)

    def take(self, **options: Any) -> Path:
        number = self.journal.reserve()
        bundle = self.folders.photos / bundle_name(number)
        shutil.copytree(self.make_bundle(**options), bundle)
        self.journal.taken(number, bundle)
        return bundle

    def config(self, **sections: Any) -> Config:
        path = self.tmp_path / "stillpi.yaml"
        camera = {"kind": "twin"}
        path.write_text(
            json.dumps(
                {
                    "camera": camera,
                    "imu": {"kind": "none"},
                    "restoration": {"model": "none", "threads": 1},
                    **sections,
                }
            )
        )
        return load_config(path)

    def restorer(self, script: str | None = None, **sections: Any) -> Restorer:
        options: dict[str, Any] = (
            {} if script is None else {"child": (sys.executable, "-c", script)}
        )
        return Restorer(
            self.journal, self.folders, self.config(**sections), clock=self.clock, **options
        )

    def report(self, number: int) -> dict[str, Any]:
        photograph = self.journal.photograph(number)
        assert photograph is not None
        assert photograph.report is not None
        report: dict[str, Any] = json.loads(photograph.report.read_text())
        return report


@pytest.fixture
def bench(tmp_path: Path, make_bundle: Callable[..., Path]):
    bench = Bench(tmp_path, make_bundle)
    yield bench
    bench.journal.close()


def test_a_photograph_is_restored_and_is_to_be_delivered(bench: Bench) -> None:
    bundle = bench.take()
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    restorer = bench.restorer()
    assert restorer.step() == 0.0
    job = bench.journal.next_job("spool", 1e9)
    assert job is not None
    assert job.photo == bench.folders.results / "IMG_000001.jpg"
    with Image.open(job.photo) as image:
        image.load()
        assert image.size == (64, 48)
    report = bench.report(1)
    assert report["output"] == "IMG_000001.jpg"
    assert report["photograph"]["number"] == 1
    assert report["photograph"]["frame_sha256"] == sha256_of(read_bundle(bundle).frame_file)
    assert report["photograph"]["date_known"] is False
    photograph = bench.journal.photograph(1)
    assert photograph is not None
    assert photograph.facts["restored"] is True
    assert photograph.facts["seconds"] > 0
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert not list(bench.folders.state.rglob("*.part"))
    assert restorer.step() == 30.0


def test_without_motion_the_photograph_is_delivered_and_marked(
    bench: Bench, make_samples: Callable[..., Any]
) -> None:
    bench.take(samples=make_samples(1.0, 2.0))
    bench.restorer().step()
    photograph = bench.journal.photograph(1)
    assert photograph is not None
    assert photograph.state == "restored"
    assert photograph.facts["restored"] is False
    assert [warning["name"] for warning in bench.report(1)["warnings"]] == ["not-restored"]
    assert photograph.pending == ("spool",)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (CRASHES, "a crash by SIGSEGV"),
        ("raise KeyError('tile')", "KeyError: 'tile'"),
        ("import sys; print('no such thing', file=sys.stderr); sys.exit(2)", "no such thing"),
        ("import sys; sys.exit(7)", "exit code 7"),
    ],
)
def test_three_failures_set_a_photograph_aside(bench: Bench, script: str, reason: str) -> None:
    bundle = bench.take()
    restorer = bench.restorer(script)
    for _ in range(3):
        restorer.step()
        assert bench.journal.next_job("spool", 1e9) is None
    restorer.step()
    photograph = bench.journal.photograph(1)
    assert photograph is not None
    assert photograph.state == "set-aside"
    assert photograph.reason == f"3 attempts failed, the last: {reason}"
    assert photograph.photo is not None
    assert photograph.photo.read_bytes() == read_bundle(bundle).frame_file.read_bytes()
    assert reason in bench.report(1)["warnings"][0]["detail"]
    assert photograph.pending == ("spool",)
    assert bundle.is_dir()


def test_one_bad_photograph_does_not_stop_the_next(bench: Bench) -> None:
    broken = bench.take()
    (broken / "camera.yaml").write_text("cam0: [not, this]\n")
    bench.take()
    restorer = bench.restorer(service={"attempts": 1})
    for _ in range(3):
        restorer.step()
    states = [photograph.state for photograph in bench.journal.photographs()]
    assert states == ["set-aside", "restored"]
    reason = bench.journal.photographs()[0].reason
    assert reason is not None
    assert "camera.yaml: cam0: " in reason


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def save_smaller(path: Path) -> None:
    with Image.open(path) as image:
        image.resize((32, 24)).save(path)


EDITS: list[tuple[str, Callable[[Path], object], str | None]] = [
    (".", shutil.rmtree, "found nothing, expected a folder NAME.capture"),
    (".", lambda path: path.rename(path.with_name("holiday.capture")), "found nothing, expected"),
    ("capture.json", Path.unlink, "capture.json: file: found nothing, expected "),
    ("capture.json", lambda path: path.write_text("{'frame': 1}"), "capture.json: "),
    ("capture.json", replace_by_folder, "capture.json: "),
    ("camera.yaml", lambda path: path.write_text("cam0: [\n"), "camera.yaml:"),
    ("frame.jpg", lambda path: path.write_text("see the other folder"), "frame.jpg: "),
    ("frame.jpg", lambda path: os.truncate(path, path.stat().st_size // 2), "frame.jpg: "),
    ("frame.jpg", save_smaller, "frame.jpg: "),
    ("imu.gcsv", lambda path: path.write_text(path.read_text().replace(",", ";")), "imu.gcsv:"),
    (".", lambda path: (path / "notes.txt").write_text("in the garden"), None),
]


def test_bundles_edited_by_hand_say_what_is_wrong_and_stop_nothing(bench: Bench) -> None:
    bundles = [bench.take() for _ in range(len(EDITS) + 1)]
    for bundle, (name, edit, _) in zip(bundles, EDITS, strict=False):
        edit(bundle / name if name != "." else bundle)
    restorer = bench.restorer(service={"attempts": 1})
    for _ in range(2 * len(bundles)):
        restorer.step()
    assert bench.journal.counts().waiting["restore"] == 0
    *edited, good = bench.journal.photographs()
    assert good.state == "restored"
    for photograph, (name, _, message) in zip(edited, EDITS, strict=True):
        assert photograph.bundle is not None
        if message is None:
            assert (photograph.state, photograph.reason) == ("restored", None)
            continue
        assert photograph.state == "set-aside", name
        assert photograph.reason is not None
        assert photograph.reason.startswith("1 attempt failed, the last: ")
        assert message in photograph.reason
        assert "found " in photograph.reason
        assert ", expected " in photograph.reason
        assert "\n" not in photograph.reason
        assert (photograph.photo is not None) == (photograph.bundle / "frame.jpg").exists()


def test_a_bundle_that_was_mended_is_restored_when_asked_for(bench: Bench) -> None:
    bundle = bench.take()
    capture = bundle / "capture.json"
    text = capture.read_text()
    capture.write_text(text[:-20])
    restorer = bench.restorer(service={"attempts": 1})
    restorer.step()
    restorer.step()
    assert bench.report(1)["warnings"][0]["name"] == "not-restored"
    capture.write_text(text)
    assert bench.journal.restore_again([1]) == 1
    restorer.step()
    photograph = bench.journal.photograph(1)
    assert photograph is not None
    assert (photograph.state, photograph.reason) == ("restored", None)
    assert "not-restored" not in [warning["name"] for warning in bench.report(1)["warnings"]]


def test_a_bundle_without_its_picture_is_set_aside_with_nothing_to_deliver(bench: Bench) -> None:
    bundle = bench.take()
    read_bundle(bundle).frame_file.unlink()
    restorer = bench.restorer(CRASHES)
    for _ in range(4):
        restorer.step()
    photograph = bench.journal.photograph(1)
    assert photograph is not None
    assert (photograph.state, photograph.photo, photograph.pending) == ("set-aside", None, ())
    assert bench.journal.removable() == []


def test_memory_is_bounded(bench: Bench) -> None:
    bench.take()
    hungry = (
        "import device.service.restore_child as c, sys\n"
        "c.restore = lambda request: bytearray(2_000_000_000)\n"
        "sys.exit(c.main())"
    )
    restorer = bench.restorer(hungry, service={"restore_memory_mb": 300})
    restorer.step()
    assert bench.journal.last_error("restore") == "more than 300 MB of memory are needed"


def test_time_is_bounded(bench: Bench) -> None:
    bench.take()
    restorer = bench.restorer(HANGS, service={"restore_timeout_s": 1.0})
    begin = time.monotonic()
    restorer.step()
    assert time.monotonic() - begin < 20
    assert bench.journal.last_error("restore") == "no result after 1 s"


def test_a_full_disk_costs_no_attempt(bench: Bench) -> None:
    bench.take()
    restorer = bench.restorer(NO_ROOM)
    for _ in range(5):
        restorer.step()
    job = bench.journal.next_job("restore", 1e9)
    assert job is not None
    assert (job.attempts, job.last_error) == (0, "photo.jpg: No space left on device")
    assert bench.journal.next_job("restore", 0.0) is None


def test_a_disk_so_full_that_the_child_cannot_say_so_costs_no_attempt(bench: Bench) -> None:
    bench.take()
    speechless = (
        "import device.service.restore_child as c, errno, os, sys\n"
        "def full(request): raise OSError(errno.ENOSPC, 'No space left on device', 'photo.jpg')\n"
        "c.restore = full\n"
        "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)\n"
        "sys.exit(c.main())"
    )
    bench.restorer(speechless).step()
    job = bench.journal.next_job("restore", 1e9)
    assert job is not None
    assert (job.attempts, job.last_error) == (0, "exit code 4")


def test_a_photograph_that_takes_the_machine_down_is_set_aside(bench: Bench) -> None:
    bench.take()
    for _ in range(MOST_INTERRUPTED):
        assert bench.journal.next_job("restore", 1e9) is not None
        bench.journal.resume()
    bench.restorer().step()
    photograph = bench.journal.photograph(1)
    assert photograph is not None
    assert photograph.reason == "the service ended 10 times while it was restored"


def test_stopping_ends_the_child_and_costs_nothing(bench: Bench) -> None:
    bench.take()
    seen = bench.tmp_path / "pid"
    tells = f"import os, pathlib; pathlib.Path({str(seen)!r}).write_text(str(os.getpid()))"
    restorer = bench.restorer(f"{tells}\n{HANGS}")
    thread = threading.Thread(target=restorer.step)
    thread.start()
    until(lambda: seen.exists() and seen.read_text())
    restorer.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert not Path(f"/proc/{seen.read_text()}").exists()
    job = bench.journal.next_job("restore", 0.0)
    assert job is not None
    assert (job.attempts, job.interrupted) == (0, 0)


def test_the_child_goes_with_its_parent(bench: Bench) -> None:
    seen = bench.tmp_path / "pid"
    child = (
        "import os, pathlib, time\nfrom device.service import restore_child as c\n"
        f"c._stay_small(300, os.getppid())\n"
        f"pathlib.Path({str(seen)!r}).write_text(str(os.getpid()))\ntime.sleep(600)"
    )
    starts = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}])"
    parent = f"{starts}\n{HANGS}"
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", parent])
    until(lambda: seen.exists() and seen.read_text())
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    until(lambda: not Path(f"/proc/{seen.read_text()}").exists())


def test_a_model_that_does_not_run_costs_the_network_only(bench: Bench) -> None:
    bench.take()
    model = bench.tmp_path / "model"
    model.mkdir()
    bench.restorer(restoration={"model": str(model), "threads": 1}).step()
    photograph = bench.journal.photograph(1)
    assert photograph is not None
    assert photograph.state == "restored"
    assert "model-failed" in photograph.facts["warnings"]
    assert "model-failed" in [warning["name"] for warning in bench.report(1)["warnings"]]


def test_restoring_again_with_a_model_that_fails_keeps_the_first_result(bench: Bench) -> None:
    bench.take()
    bench.restorer(QUICK).step()
    first = (bench.folders.results / "IMG_000001.jpg").read_bytes()
    assert bench.journal.restore_again([1], str(bench.tmp_path / "none")) == 1
    restorer = bench.restorer(service={"attempts": 1})
    restorer.step()
    restorer.step()
    photograph = bench.journal.photograph(1)
    assert photograph is not None
    assert photograph.state == "restored"
    assert photograph.reason is not None
    assert photograph.reason.startswith("1 attempt failed")
    assert (bench.folders.results / "IMG_000001.jpg").read_bytes() == first


def test_the_date_in_a_report_is_corrected_once_it_is_known(bench: Bench) -> None:
    bundle = bench.take()
    restorer = bench.restorer(QUICK)
    restorer.step()
    job = bench.journal.next_job("spool", 1e9)
    assert job is not None
    bench.journal.spooled(job, "spool", push=False)
    doubtful = bench.report(1)["photograph"]
    capture = (bundle / "capture.json").read_bytes()
    bench.clock = Clock(
        wall_ns=lambda: time.time_ns() + 86_400_000_000_000, synchronised=bench.marker.exists
    )  # the day that had passed while it was off
    bench.marker.touch()
    restorer = bench.restorer(QUICK)
    restorer.step()
    known = bench.report(1)["photograph"]
    assert bench.report(1)["motion"] == {"rows": 48}
    assert known["frame_sha256"] == doubtful["frame_sha256"]
    assert (doubtful["date_known"], known["date_known"]) == (False, True)
    assert known["taken"][:10] > doubtful["taken"][:10]
    assert bench.journal.next_job("spool", 1e9) is not None
    assert (bundle / "capture.json").read_bytes() == capture


def test_results_are_deleted_when_their_copies_are_confirmed(bench: Bench) -> None:
    bench.take()
    restorer = bench.restorer(QUICK)
    restorer.step()
    restorer.step()
    assert (bench.folders.results / "IMG_000001.jpg").exists()
    job = bench.journal.next_job("spool", 1e9)
    assert job is not None
    bench.journal.spooled(job, "spool", push=False)
    restorer.step()
    assert [path.name for path in bench.folders.results.iterdir()] == ["IMG_000001.json"]
