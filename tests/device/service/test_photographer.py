"""From a press to a photograph that is safe, with a camera that fails and one that does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from quick_camera import FixedCamera, Studio

from device.bundle import read_bundle
from device.capture.camera import Frame
from device.capture.scene import DEMO_PHOTOGRAPH
from device.capture.twin import imu_function
from device.errors import CameraError
from device.motion.sources import Still
from device.service import photographer as photographer_module
from device.service.journal import Journal, JournalError
from device.service.photographer import MOST_WAITING, Photographer, RefusedError
from firmware_bridge.emulator import PtyEmulator, Wt901Emulator
from firmware_bridge.errors import LinkError
from firmware_bridge.provision import ProvisionPlan
from firmware_bridge.reader import ImuReader
from firmware_bridge.samples import ImuSamples
from firmware_bridge.serial_link import SerialLink


@pytest.fixture
def studio() -> Studio:
    return Studio()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def journal(tmp_path: Path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


@pytest.fixture
def photographer(journal: Journal, photos: Path, studio):
    photographer = Photographer(journal, photos, studio.open)
    yield photographer
    photographer.close()


def run(photographer: Photographer, steps: int = 3) -> None:
    for _ in range(steps):
        photographer.step()


def test_a_press_is_answered_when_its_photograph_is_safe(
    photographer: Photographer, journal: Journal, photos: Path
) -> None:
    answer = photographer.press()
    assert not answer.done()
    run(photographer)
    (photo,) = answer.result(timeout=0)
    assert (photo.number, photo.bundle) == (1, photos / "IMG_000001.capture")
    assert read_bundle(photo.bundle).warnings == photo.notices
    entry = journal.photograph(1)
    assert entry is not None
    assert (entry.state, entry.bundle, entry.pending) == ("taken", photo.bundle, ("restore",))
    assert [warning["name"] for warning in entry.warnings] == ["no-imu"]


def test_a_long_press_is_a_bracket(photographer: Photographer, journal: Journal, studio) -> None:
    answer = photographer.press("long")
    run(photographer)
    assert [photo.number for photo in answer.result(timeout=0)] == [1, 2, 3]
    assert studio.cameras[0].taken_at == [-1.0, 0.0, 1.0]
    assert studio.cameras[0].stops == 0.0
    assert [entry.bracket for entry in journal.photographs()] == [None, 1, 1]
    exposures = [read_bundle(e.bundle).timing.exposure_ns for e in journal.photographs()]
    assert exposures == [500_000, 1_000_000, 2_000_000]


def test_presses_are_taken_in_their_order_and_too_many_refused(
    photographer: Photographer,
) -> None:
    answers = [photographer.press() for _ in range(MOST_WAITING)]
    refused = photographer.press()
    with pytest.raises(RefusedError, match="8 presses wait already"):
        refused.result(timeout=0)
    run(photographer, MOST_WAITING + 1)
    assert [answer.result(timeout=0)[0].number for answer in answers] == list(range(1, 9))


def test_without_room_the_press_is_refused_and_nothing_is_written(
    journal: Journal, photos: Path, studio
) -> None:
    photographer = Photographer(
        journal, photos, studio.open, refuse=lambda: "40 MB free, 500 are kept: delete something"
    )
    answer = photographer.press()
    run(photographer)
    with pytest.raises(RefusedError, match="delete something"):
        answer.result(timeout=0)
    assert photographer.last_failure == "40 MB free, 500 are kept: delete something"
    assert list(photos.iterdir()) == []
    assert journal.reserve() == 1
    photographer.close()


def test_a_camera_that_fails_is_opened_again(
    photographer: Photographer, journal: Journal, studio, caplog
) -> None:
    run(photographer, 1)
    studio.cameras[0].fails = CameraError("no frame arrived within 5 s")
    answer = photographer.press()
    run(photographer, 1)
    with pytest.raises(CameraError, match="no frame"):
        answer.result(timeout=0)
    assert studio.cameras[0].closed
    assert photographer.doing == "failed"
    missed = journal.photograph(1)
    assert missed is not None
    assert (missed.state, missed.reason) == ("missed", "no frame arrived within 5 s")
    answer = photographer.press()
    run(photographer, 2)
    assert answer.result(timeout=0)[0].number == 2
    assert photographer.last_failure is None
    assert "opened again" in caplog.text


def test_without_a_camera_presses_are_refused_until_there_is_one(
    photographer: Photographer, studio
) -> None:
    studio.refuses = CameraError("no camera number 0: libcamera finds none")
    answer = photographer.press()
    assert [photographer.step() for _ in range(3)] == [1.0, 2.0, 5.0]
    with pytest.raises(RefusedError, match="libcamera finds none"):
        answer.result(timeout=0)
    assert photographer.trouble == "no camera: no camera number 0: libcamera finds none"
    studio.refuses = None
    answer = photographer.press()
    run(photographer, 2)
    assert answer.result(timeout=0)
    assert photographer.trouble is None


def test_a_bracket_that_breaks_keeps_what_was_taken(journal: Journal, photos: Path, studio) -> None:
    taken: list[int] = []
    photographer = Photographer(journal, photos, studio.open, taken=lambda: taken.append(1))
    run(photographer, 1)
    camera = studio.cameras[0]
    camera.set_stops = lambda stops: setattr(
        camera, "fails", CameraError("gone") if stops == 1 else None
    )
    answer = photographer.press("long")
    run(photographer, 1)
    with pytest.raises(CameraError, match="gone"):
        answer.result(timeout=0)
    assert [entry.number for entry in journal.photographs()] == [1, 2]
    assert taken == [1]
    photographer.close()


def test_a_disk_that_cannot_be_written_costs_the_press_not_the_camera(
    photographer: Photographer, photos: Path, studio, monkeypatch
) -> None:
    run(photographer, 1)
    photos.rmdir()
    photos.write_text("in the way")
    answer = photographer.press()
    run(photographer, 1)
    with pytest.raises(OSError, match="exists"):
        answer.result(timeout=0)
    assert not studio.cameras[0].closed
    photos.unlink()
    photos.mkdir()
    answer = photographer.press()
    run(photographer, 1)
    assert answer.result(timeout=0)[0].number == 2


def test_a_journal_that_cannot_be_written_never_answers_well(
    photographer: Photographer, journal: Journal, photos: Path
) -> None:
    run(photographer, 1)
    database = journal._file._connection
    database.execute("PRAGMA query_only = ON")
    answer = photographer.press()
    run(photographer, 1)
    with pytest.raises(JournalError, match="readonly"):
        answer.result(timeout=0)
    database.execute("PRAGMA query_only = OFF")
    assert list(photos.iterdir()) == []


class MadLog:
    """A motion sensor's log that jumps in time and repeats itself."""

    def samples_between(
        self, start_ns: int, end_ns: int, *, wait_until_ns: int | None = None
    ) -> ImuSamples:
        t_ns = np.array([end_ns, start_ns, start_ns, -5, 2**60], dtype=np.int64)
        return ImuSamples(t_ns, np.full((5, 3), 35.0), np.full((5, 3), np.nan))


def test_a_mad_motion_sensor_stops_nothing(photographer: Photographer, studio) -> None:
    studio.log = MadLog()
    answer = photographer.press()
    run(photographer)
    (photo,) = answer.result(timeout=0)
    names = {notice.name for notice in photo.notices}
    assert names & {"imu-gap", "imu-short", "imu-slow"}
    assert len(read_bundle(photo.bundle).samples) >= 1


def test_a_missing_motion_sensor_stops_nothing(photographer: Photographer, studio) -> None:
    def no_link() -> None:
        raise LinkError("/dev/imu: cannot open the serial port")

    with ImuReader(no_link) as reader:  # type: ignore[arg-type]
        studio.log = reader
        answer = photographer.press()
        run(photographer)
        (photo,) = answer.result(timeout=0)
        assert "cannot open the serial port" in photo.notices[-1].detail
        stats = photographer.imu_stats()
        assert stats is not None
        assert stats.alive


def test_a_dead_reader_is_replaced(photographer: Photographer, studio) -> None:
    reader = ImuReader(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    studio.log = reader  # never started, so it is not alive
    run(photographer, 2)
    assert studio.cameras[0].closed
    studio.log = None
    run(photographer, 1)
    assert photographer.doing == "ready"
    assert len(studio.cameras) == 2


def test_closing_refuses_what_waits(photographer: Photographer, studio) -> None:
    run(photographer, 1)
    waiting = photographer.press()
    photographer.close()
    photographer.close()
    late = photographer.press()
    for answer in (waiting, late):
        with pytest.raises(RefusedError, match="stopping"):
            answer.result(timeout=0)
    assert studio.cameras[0].closed


def test_a_camera_that_cannot_set_its_exposure_takes_three_equal_ones(
    photographer: Photographer, studio
) -> None:
    studio.kind = FixedCamera
    answer = photographer.press("long")
    run(photographer)
    assert len(answer.result(timeout=0)) == 3
    assert studio.cameras[0].taken_at == [0.0, 0.0, 0.0]


class MeteringCamera(FixedCamera):
    def __init__(self) -> None:
        super().__init__()
        self.metered = 0

    def meter(self) -> None:
        self.metered += 1
        if self.fails is not None:
            raise self.fails


def test_light_is_measured_while_nobody_presses(
    photographer: Photographer, studio, monkeypatch
) -> None:
    studio.kind = MeteringCamera
    run(photographer, 3)
    assert studio.cameras[0].metered == 0  # opening did it
    monkeypatch.setattr(photographer_module, "METER_EVERY_S", 0.0)
    answer = photographer.press()
    run(photographer, 1)
    assert answer.result(timeout=0)
    assert studio.cameras[0].metered == 0  # a press does not wait for it
    run(photographer, 2)
    assert studio.cameras[0].metered == 2
    studio.cameras[0].fails = CameraError("no frame arrived")
    run(photographer, 1)
    assert studio.cameras[0].closed
    run(photographer, 1)
    assert photographer.doing == "ready"


class FullSizeCamera(FixedCamera):
    """A camera of 12 megapixels with a picture that compresses like one."""

    size = (4056, 3040)

    def __init__(self) -> None:
        super().__init__()
        scene = cv2.imread(str(DEMO_PHOTOGRAPH))[..., ::-1]
        grain = np.random.default_rng(0).normal(0, 4, (self.size[1], self.size[0], 1))
        large = cv2.resize(scene, self.size, interpolation=cv2.INTER_CUBIC) + grain
        self._pixels = np.clip(large, 0, 255).astype(np.uint8)

    def capture(self) -> Frame:
        return replace(super().capture(), pixels=self._pixels)


@pytest.mark.soak
def test_from_press_to_disk_at_twelve_megapixels(
    journal: Journal, photos: Path, studio: Studio, record_property: Callable[[str, object], None]
) -> None:
    studio.kind = FullSizeCamera
    plan = ProvisionPlan()
    emulator, baud = Wt901Emulator(imu_function(Still()), registers=plan.settings), plan.baud
    with (
        PtyEmulator(emulator) as sensor,
        ImuReader(lambda: SerialLink(sensor.port, baud.bits_per_s)) as log,
    ):
        assert log.wait_for_samples(200, 10.0)
        studio.log = log
        photographer = Photographer(journal, photos, studio.open)
        photographer.step()
        took_s = []
        for _ in range(11):
            answer = photographer.press()
            begin = time.monotonic()
            photographer.step()
            took_s.append(time.monotonic() - begin)
            assert answer.result(timeout=0)
        photographer.close()
    size_mb = sum(path.stat().st_size for path in photos.rglob("frame.jpg")) / 11e6
    record_property(
        "figures",
        f"{size_mb:.1f} MB, median {np.median(took_s):.2f} s, longest {max(took_s):.2f} s",
    )
    assert np.median(took_s) < 1.0
