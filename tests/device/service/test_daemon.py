"""The service as a whole in one process: a quick camera, a real spool, a real socket."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from quick_camera import Studio
from waiting import until

from device.bundle import read_bundle
from device.config import Config, load_config
from device.errors import CameraError
from device.service import daemon as daemon_module
from device.service import parts as parts_module
from device.service import restorer as restorer_module
from device.service import spool
from device.service.clock import boot_s
from device.service.control import ControlError, ask
from device.service.daemon import EXIT_FAILED, EXIT_STOPPED, Daemon
from device.service.journal import Journal
from device.service.led import Led
from device.service.names import Folders, bundle_name
from device.service.notify import Notifier
from device.service.parts import Surroundings
from device.service.reconcile import AlreadyRunningError, only_one, reconcile

QUICK_CHILD = (
    sys.executable,
    "-c",
    "import json, pathlib, sys\n"
    "photo = pathlib.Path(json.load(sys.stdin)['target'])\n"
    "photo.write_bytes(b'a photograph')\n"
    "photo.with_suffix('.json').write_text('{\"warnings\": []}')",
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_module, "LOOP_S", 0.05)
    monkeypatch.setattr(parts_module, "UPKEEP_S", 0.05)
    monkeypatch.setattr(restorer_module.Restorer.__init__, "__kwdefaults__", {
        **restorer_module.Restorer.__init__.__kwdefaults__, "child": QUICK_CHILD
    })  # fmt: skip


class Service:
    """A service to start, ask and stop; `room` refuses, `delivers` is switched off."""

    def __init__(self, tmp_path: Path, studio: Studio, **sections: Any) -> None:
        self.studio = studio
        self.folders = Folders(tmp_path / "state", tmp_path / "state" / "photos")
        path = tmp_path / "stillpi.yaml"
        service = {"state": str(self.folders.state), "socket": str(tmp_path / "control.sock")}
        path.write_text(
            json.dumps(
                {
                    "camera": {"kind": "twin"},
                    "imu": {"kind": "none"},
                    "restoration": {"model": "none"},
                    **sections,
                    "service": {**service, **sections.get("service", {})},
                }
            )
        )
        self.config: Config = load_config(path)
        self.room: str | None = None
        self.delivery_needs: str | None = None
        self.delivers = True
        self.code: int | None = None
        self.notifier = Notifier({})

    def daemon(self) -> Daemon:
        around = Surroundings(
            open_rig=self.studio.open,
            deliver=self.deliver,
            make_room=lambda journal: None,
            refuse=lambda: self.room,
            delivery_needs=lambda: self.delivery_needs,
            notifier=self.notifier,
        )
        return Daemon(self.config, self.folders, around)

    @contextmanager
    def running(self) -> Iterator[Daemon]:
        daemon = self.daemon()
        thread = threading.Thread(target=lambda: setattr(self, "code", daemon.run()))
        thread.start()
        try:
            until(lambda: self.status()["camera"] != "opening" if self.is_up() else False)
            yield daemon
        finally:
            daemon.stop()
            thread.join(30)
            assert not thread.is_alive()

    def is_up(self) -> bool:
        try:
            self.status()
        except ControlError:
            return False
        return True

    def deliver(self, journal: Journal) -> float:
        job = journal.next_job("spool", boot_s()) if self.delivers else None
        if job is None:
            return 0.05
        files = [path for path in (job.report, job.photo) if path is not None]
        spool.put(self.folders.spool, *files, replace=True)
        journal.spooled(job, "spool", push=False)
        return 0.0

    def ask(self, **request: Any) -> dict[str, Any]:
        return ask(self.config.service.socket, request)

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.ask(do="status")["status"]
        return status

    def is_done(self) -> bool:
        queue = self.status()["queue"]
        return not any(queue[kind] for kind in ("restore", "spool", "push"))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path, Studio())


def test_from_trigger_to_spool(service: Service) -> None:
    with service.running():
        answer = service.ask(do="trigger")
        assert answer["number"] == 1
        bundle = Path(answer["bundle"])
        assert read_bundle(bundle).width == 96
        assert answer["photographs"][0]["warnings"][0]["name"] == "no-imu"
        until(service.is_done)
        assert (service.folders.spool / "IMG_000001.jpg").read_bytes() == b"a photograph"
        report = json.loads((service.folders.spool / "IMG_000001.json").read_text())
        assert report["photograph"]["number"] == 1
        status = service.status()
        assert (status["camera"], status["photographs"]) == ("ready", 1)
        assert status["last"]["state"] == "restored"
    assert service.code == EXIT_STOPPED
    assert not service.config.service.socket.exists()
    assert service.studio.cameras[0].closed


def test_a_long_press_and_keep(service: Service) -> None:
    with service.running():
        answer = service.ask(do="trigger", press="long")
        assert [photo["number"] for photo in answer["photographs"]] == [1, 2, 3]
        assert service.ask(do="keep", number=2) == {"ok": True, "number": 2, "keep": True}
        with pytest.raises(ControlError, match="found 9, expected a photograph that is here"):
            service.ask(do="keep", number=9)
        with pytest.raises(ControlError, match="press: found 'wide', expected short or long"):
            service.ask(do="trigger", press="wide")


def test_refusing_and_taking_again(service: Service) -> None:
    with service.running():
        service.room = "40 MB free, 500 are kept"
        with pytest.raises(ControlError, match="40 MB free"):
            service.ask(do="trigger")
        assert service.status()["refuses"] == "40 MB free, 500 are kept"
        service.room = None
        assert service.ask(do="trigger")["number"] == 1


def test_without_a_camera_everything_else_goes_on(service: Service) -> None:
    service.studio.refuses = CameraError("no camera number 0")
    with service.running():
        with pytest.raises(ControlError, match="no camera number 0"):
            service.ask(do="trigger")
        assert service.status()["trouble"] == "no camera: no camera number 0"


def test_the_light_shows_that_delivery_needs_a_person(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    @contextmanager
    def light(config: object) -> Iterator[Led]:
        led = Led()
        monkeypatch.setattr(led, "show", shown.append)
        yield led

    monkeypatch.setattr(daemon_module, "open_led", light)
    with service.running():
        until(lambda: shown[-1:] == ["ready"])
        service.delivery_needs = "me@nas:in: others may read the key"
        until(lambda: shown[-1] == "error")
        assert service.status()["delivery_needs"] == "me@nas:in: others may read the key"
        service.delivery_needs = None
        until(lambda: shown[-1] == "ready")


def test_what_a_killed_service_left_is_put_in_order(
    service: Service, make_bundle: Callable[..., Path]
) -> None:
    folders = service.folders
    folders.make()
    with Journal(folders.journal) as journal:
        whole, never = journal.reserve(), journal.reserve()
        running = journal.reserve()
        for number in (whole, running):
            shutil.copytree(make_bundle(), folders.photos / bundle_name(number))
        journal.taken(running, folders.photos / bundle_name(running))
        assert journal.next_job("restore", 1e9) is not None
    (folders.photos / ".IMG_000002.capture.ab12cd").mkdir()
    (folders.photos / ".IMG_000002.capture.ab12cd" / "frame.jpg").write_bytes(b"half")
    (folders.results / ".stillpi-0123.part").write_bytes(b"half")
    (folders.spool / ".stillpi-0123.part").write_bytes(b"half")
    (folders.results / "IMG_000009.jpg").write_bytes(b"of a lost journal")
    (folders.spool / "IMG_000041.jpg").write_bytes(b"of a lost journal")
    (folders.photos / "holiday.capture").mkdir()
    (folders.work / "IMG_000003").mkdir()
    with service.running():
        until(service.is_done)
        assert service.ask(do="trigger")["number"] == 42
    assert sorted(path.name for path in folders.photos.iterdir()) == [
        "IMG_000001.capture", "IMG_000003.capture", "IMG_000042.capture", "holiday.capture",
    ]  # fmt: skip
    assert not list(folders.state.rglob(".*"))
    assert not (folders.results / "IMG_000009.jpg").exists()
    assert {path.name for path in folders.spool.iterdir()} >= {
        "IMG_000001.jpg", "IMG_000003.jpg", "IMG_000041.jpg",
    }  # fmt: skip
    with Journal(folders.journal) as journal:
        missed = journal.photograph(never)
        assert missed is not None
        assert missed.state == "missed"


def test_a_lost_journal_loses_no_photograph_and_no_name(service: Service) -> None:
    with service.running():
        for _ in range(3):
            service.ask(do="trigger")
        until(service.is_done)
    for path in service.folders.state.glob("journal.sqlite*"):
        path.unlink()
    with service.running():
        until(service.is_done)
        assert service.status()["photographs"] == 3
        assert service.ask(do="trigger")["number"] == 4


def test_bundles_deleted_by_hand_after_delivery_are_known_as_gone(service: Service) -> None:
    with service.running():
        bundle = Path(service.ask(do="trigger")["bundle"])
        until(service.is_done)
    shutil.rmtree(bundle)
    with Journal(service.folders.journal) as journal:
        reconcile(journal, service.folders)
        photograph = journal.photograph(1)
        assert photograph is not None
        assert photograph.removed
        assert journal.restore_again([1]) == 0


def test_two_services_do_not_share_a_state(service: Service) -> None:
    service.folders.make()
    with only_one(service.folders), pytest.raises(AlreadyRunningError, match="runs already"):
        service.daemon().run()
    with service.running():
        assert service.ask(do="trigger")["number"] == 1


def test_a_part_with_a_bug_ends_the_service(service: Service, monkeypatch, caplog) -> None:
    def fails(journal: Journal) -> float:
        raise KeyError("a bug")

    monkeypatch.setattr(service, "deliver", fails)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    assert service.daemon().run() == EXIT_FAILED
    assert "delivery has ended or hangs" in caplog.text


def test_systemd_is_told(service: Service, tmp_path: Path) -> None:
    told: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)
        service.notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        with service.running():
            service.ask(do="trigger")
            while not _has_told(told, "READY=1", "WATCHDOG=1", "STATUS=ready, 1 taken"):
                told.append(systemd.recv(4096).decode())
        while not _has_told(told, "STOPPING=1"):
            told.append(systemd.recv(4096).decode())
    assert told.index("READY=1") < told.index("STOPPING=1") == len(told) - 1


def _has_told(told: list[str], *beginnings: str) -> bool:
    return all(any(line.startswith(beginning) for line in told) for beginning in beginnings)


def test_reprocessing(service: Service) -> None:
    with service.running():
        for _ in range(3):
            service.ask(do="trigger")
        until(service.is_done)
        service.delivers = False
        assert service.ask(do="reprocess", since=2) == {"ok": True, "count": 2}
        until(lambda: service.status()["queue"]["restore"] == 0)
        assert service.status()["queue"]["spool"] == 2
        with pytest.raises(ControlError, match="expected an absolute path"):
            service.ask(do="reprocess", model="here")
        with pytest.raises(ControlError, match=r"nothing/"):
            service.ask(do="reprocess", model="/nothing")


def test_prometheus_and_status_for_people(tmp_path: Path) -> None:
    service = Service(tmp_path, Studio(), service={"prometheus": str(tmp_path / "stillpi.prom")})
    with service.running():
        service.ask(do="trigger")
        file = tmp_path / "stillpi.prom"
        until(lambda: file.exists() and "stillpi_photographs_total 1\n" in file.read_text())
        for line in file.read_text().splitlines():
            name, value = line.rsplit(" ", 1)
            assert name.startswith("stillpi_")
            float(value)
        from device.service.status import for_people

        text = "\n".join(for_people(service.status()))
        assert "last photograph: IMG_000001" in text
        assert "motion sensor: none" in text
