"""Kill -9 of the whole service at random instants: what was acknowledged is never lost.

Instants are drawn over the whole life of a run: start, capture, restoration, delivery. After every
kill, everything under a final name must be whole; at the end, every photograph whose press was
acknowledged is there, decodes, and was delivered once. The restoration of every fifth crashes: it
is set aside after three attempts, however often the service is killed meanwhile, and keeps its
reason. `make soak` does it with 100 kills and real restorations.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from service_process import QUICK_RESTORATION, REAL_RESTORATION, ServiceProcess
from sshd import Sshd
from waiting import until

from device.bundle import read_bundle
from device.service.control import ControlError
from device.service.journal import Journal
from device.service.names import number_of, photo_name

FINAL = re.compile(r"IMG_\d{6}\.(jpg|json)")
DOOMED = 5
FAILS_NOW_AND_THEN = f"""\
import io, json, os, pathlib, signal, sys
asked = sys.stdin.read()
if int(pathlib.Path(json.loads(asked)["bundle"]).stem[4:]) % {DOOMED} == 0:
    os.kill(os.getpid(), signal.SIGSEGV)
sys.stdin = io.TextIOWrapper(io.BytesIO(asked.encode()))
"""
CRASHED = "3 attempts failed, the last: a crash by SIGSEGV"
# Killed ten times during one restoration, the service takes that for the culprit.
INTERRUPTED = "the service ended 10 times while it was restored"


class Trigger(threading.Thread):
    """Presses again and again; remembers what was acknowledged."""

    def __init__(self, service: ServiceProcess) -> None:
        super().__init__(daemon=True)
        self.service, self.acknowledged = service, []
        self.halt = threading.Event()

    def has_doomed(self) -> bool:
        return any(number % DOOMED == 0 for number, _ in self.acknowledged)

    def run(self) -> None:
        while not self.halt.is_set():
            try:
                answer = self.service.ask(do="trigger")
            except (ControlError, ValueError):  # half an answer: killed while it was sent
                self.halt.wait(0.02)
                continue
            self.acknowledged.append((answer["number"], Path(answer["bundle"])))


def check_whole(service: ServiceProcess, inbox: Path) -> None:
    """Everything under a final name decodes."""
    for path in service.folders.photos.glob("IMG_*.capture"):
        read_bundle(path).read_pixels()
    for folder in (service.folders.spool, inbox):
        for path in folder.iterdir():
            if path.name.startswith("."):
                continue
            assert FINAL.fullmatch(path.name), path
            if path.suffix == ".json":
                json.loads(path.read_text())
            else:
                with Image.open(path) as image:
                    image.load()


def check_reasons(service: ServiceProcess, known: dict[int, str]) -> None:
    """Photographs that were set aside still are, with their reason; `known` learns of new ones."""
    if not service.folders.journal.exists():
        return
    with Journal(service.folders.journal) as journal:
        aside = {
            photograph.number: str(photograph.reason)
            for photograph in journal.photographs()
            if photograph.state == "set-aside"
        }
    assert known.items() <= aside.items()
    known.update(aside)


def crash_again_and_again(
    folder: Path,
    kills: int,
    seed: int,
    *,
    restoration: str,
    longest_s: float,
    most_photographs: int,
) -> str:
    """Kill so often; check. One line of figures."""
    chance = random.Random(seed)
    with Sshd(folder / "server") as sshd:
        push = {
            "host": sshd.host, "port": sshd.port, "user": sshd.user, "key": str(sshd.key),
            "known_hosts": str(sshd.known_hosts), "folder": str(sshd.inbox),
        }  # fmt: skip
        service = ServiceProcess(
            folder, {"delivery": {"push": push}}, restoration=FAILS_NOW_AND_THEN + restoration
        )
        service.folders.make()  # to look into, when it is killed before it made them
        trigger, aside = Trigger(service), dict[int, str]()
        trigger.start()
        service.start()
        try:
            for kill in range(kills):
                if kill % 2:  # a busy machine would not get beyond the start
                    service.wait_until_ready()
                time.sleep(chance.uniform(0, longest_s))
                if len(trigger.acknowledged) >= most_photographs:
                    trigger.halt.set()
                service.kill()
                check_whole(service, sshd.inbox)
                check_reasons(service, aside)
                service.start()
            until(lambda: trigger.halt.is_set() or trigger.has_doomed(), 120)
            trigger.halt.set()
            service.wait_until_ready()
            service.wait_until_done()
            trigger.join(150)
            service.wait_until_done()
            check_whole(service, sshd.inbox)
            taken = service.status()["photographs"]
            assert service.stop() == 0
        finally:
            trigger.halt.set()
            service.end()
        check_reasons(service, aside)
        check_complete(service, sshd.inbox, trigger.acknowledged)
    known = len(trigger.acknowledged)
    return (
        f"{kills} kills, {known} photographs acknowledged, {taken} taken, {len(aside)} of them set"
        " aside, none lost"
    )


def check_complete(
    service: ServiceProcess, inbox: Path, acknowledged: list[tuple[int, Path]]
) -> None:
    """Every acknowledged photograph is there once, and nothing half-written is left."""
    numbers = [number for number, _ in acknowledged]
    assert len(set(numbers)) == len(numbers)
    folders = service.folders
    with Journal(folders.journal) as journal:
        photographs = {photograph.number: photograph for photograph in journal.photographs()}
    frames = {}
    for number, bundle in acknowledged:
        frames[number] = read_bundle(bundle).frame_file.read_bytes()
        photograph = photographs[number]
        assert photograph.is_delivered
        if number % DOOMED == 0 or photograph.state == "set-aside":
            assert photograph.state == "set-aside"
            assert photograph.reason in ([CRASHED] if number % DOOMED == 0 else []) + [INTERRUPTED]
            for folder in (folders.spool, inbox):
                assert (folder / f"{photo_name(number)}.jpg").read_bytes() == frames[number]
                report = json.loads((folder / f"{photo_name(number)}.json").read_text())
                assert report["warnings"] == [{"name": "not-restored", "detail": photograph.reason}]
        else:
            assert (photograph.state, photograph.reason) == ("restored", None)
    assert any(number % DOOMED == 0 for number in frames)
    assert len(set(frames.values())) == len(frames)
    for folder in (folders.spool, inbox):
        there = {number_of(path.stem) for path in folder.glob("*.jpg")}
        assert there == set(photographs)
        assert {number_of(path.stem) for path in folder.glob("*.json")} == there
    on_disk = {number_of(path.name) for path in folders.photos.iterdir()}
    assert on_disk == set(photographs)
    assert not list(folders.state.rglob(".*"))
    assert not list(folders.work.iterdir())


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    crash_again_and_again(
        tmp_path,
        kills=8,
        seed=1,
        restoration=QUICK_RESTORATION,
        longest_s=6.0,
        most_photographs=60,
    )


@pytest.mark.soak
def test_nothing_acknowledged_is_lost_in_a_hundred_kills(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    figures = crash_again_and_again(
        tmp_path,
        kills=100,
        seed=2,
        restoration=REAL_RESTORATION,
        longest_s=8.0,
        most_photographs=120,
    )
    record_property("figures", figures)
