"""Pushing to a real sshd: whole, confirmed, and never over somebody else's file."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from delivering import QUICK, names, push_config, wire, write_result
from sshd import Sshd

from device.service.push import part_name, push
from device.service.push_errors import PushError
from device.service.sftp import Patience, SftpSession


def send(sshd: Sshd, report: Path, *others: Path, patience: Patience = QUICK) -> None:
    with SftpSession(push_config(sshd), patience) as session:
        push(session, report, others)


def refused(sshd: Sshd, *files: Path) -> PushError:
    with pytest.raises(PushError) as caught:
        send(sshd, *files)
    assert "\n" not in str(caught.value)
    return caught.value


def test_files_arrive_with_their_content(sshd: Sshd, tmp_path: Path) -> None:
    report, photo = write_result(tmp_path / "results", 1, 3_000_000)
    send(sshd, report, photo)
    assert names(sshd.inbox) == ["IMG_000001.jpg", "IMG_000001.json"]
    assert (sshd.inbox / photo.name).read_bytes() == photo.read_bytes()
    assert (sshd.inbox / report.name).read_bytes() == report.read_bytes()


def test_an_empty_file_arrives(sshd: Sshd, tmp_path: Path) -> None:
    report, photo = write_result(tmp_path / "results", 1, 0)
    send(sshd, report, photo)
    assert (sshd.inbox / photo.name).read_bytes() == b""


def test_sending_again_sends_nothing(sshd: Sshd, tmp_path: Path) -> None:
    report, photo = write_result(tmp_path / "results", 1)
    send(sshd, report, photo)
    before = {name: (sshd.inbox / name).stat().st_ino for name in names(sshd.inbox)}
    send(sshd, report, photo)
    assert {name: (sshd.inbox / name).stat().st_ino for name in names(sshd.inbox)} == before


def test_several_photographs_in_one_session(sshd: Sshd, tmp_path: Path) -> None:
    with SftpSession(push_config(sshd), QUICK) as session:
        for number in range(1, 6):
            report, photo = write_result(tmp_path / "results", number)
            push(session, report, [photo])
            assert (sshd.inbox / photo.name).read_bytes() == photo.read_bytes()
    assert len(names(sshd.inbox)) == 10


@pytest.mark.parametrize("folder", ["two words", "umlaut ä", "back [x] *", "it's", "-dash", "~"])
def test_folders_of_any_name(sshd: Sshd, tmp_path: Path, folder: str) -> None:
    """Those too that the configuration refuses, on either side."""
    there = sshd.inbox / folder
    there.mkdir()
    report, photo = write_result(tmp_path / folder, 1)
    config = push_config(sshd).model_copy(update={"folder": str(there)})
    with SftpSession(config, QUICK) as session:
        push(session, report, [photo])
        push(session, report, [photo])
    assert names(there) == [photo.name, report.name]


@pytest.mark.parametrize("same_size", [True, False])
def test_somebody_elses_file_is_left_alone(sshd: Sshd, tmp_path: Path, same_size: bool) -> None:
    report, photo = write_result(tmp_path / "results", 1)
    theirs = os.urandom(photo.stat().st_size if same_size else 17)
    (sshd.inbox / photo.name).write_bytes(theirs)
    error = refused(sshd, report, photo)
    assert error.reason == "name"
    assert "IMG_000001.jpg is there already with other content" in str(error)
    assert "move it away there, or give this camera a folder of its own" in str(error)
    assert names(sshd.inbox) == [photo.name]
    assert (sshd.inbox / photo.name).read_bytes() == theirs


def test_another_cameras_photograph_of_the_same_number_is_left_alone(
    sshd: Sshd, tmp_path: Path
) -> None:
    theirs = write_result(tmp_path / "another camera", 1)
    send(sshd, *theirs)
    ours = write_result(tmp_path / "results", 1)
    assert refused(sshd, *ours).reason == "name"
    assert [(sshd.inbox / f.name).read_bytes() for f in theirs] == [f.read_bytes() for f in theirs]


def test_only_a_report_of_another_camera_holds_the_name(sshd: Sshd, tmp_path: Path) -> None:
    """It was cut off before its photograph, which will come: the name is that camera's."""
    theirs, _ = write_result(tmp_path / "another camera", 1)
    send(sshd, theirs)
    assert refused(sshd, *write_result(tmp_path / "results", 1)).reason == "name"
    assert names(sshd.inbox) == [theirs.name]


def test_an_older_version_of_the_photograph_is_replaced(sshd: Sshd, tmp_path: Path) -> None:
    """Restored again with a newer model, or its date became known after half of it was sent."""
    report, photo = write_result(tmp_path / "results", 1)
    send(sshd, report, photo)
    report.write_text(json.dumps(json.loads(report.read_text()) | {"model": "newer"}))
    photo.write_bytes(os.urandom(60_000))
    send(sshd, report, photo)
    assert names(sshd.inbox) == [photo.name, report.name]
    assert (sshd.inbox / photo.name).read_bytes() == photo.read_bytes()
    assert (sshd.inbox / report.name).read_bytes() == report.read_bytes()


@pytest.mark.parametrize("cut_at", [400_000, 1_200_000, 2_000_000])
def test_a_session_killed_in_the_middle_of_a_file(sshd: Sshd, tmp_path: Path, cut_at: int) -> None:
    report, photo = write_result(tmp_path / "results", 1, 2_000_000)
    killed = []
    with (
        wire(sshd, cut_at, lambda: killed.append(sshd.end_sessions())) as config,
        pytest.raises(PushError) as caught,
        SftpSession(config, QUICK) as session,
    ):
        push(session, report, [photo])
    assert killed[0] > 0
    assert caught.value.reason == "connection", str(caught.value)
    assert "the connection was cut" in str(caught.value)
    assert names(sshd.inbox) == [part_name(photo), report.name]
    assert 0 < (sshd.inbox / part_name(photo)).stat().st_size < 2_000_000
    send(sshd, report, photo)
    assert names(sshd.inbox) == [photo.name, report.name]
    assert (sshd.inbox / photo.name).read_bytes() == photo.read_bytes()


def test_a_line_that_stalls_in_the_middle_of_a_file(sshd: Sshd, tmp_path: Path) -> None:
    report, photo = write_result(tmp_path / "results", 1, 2_000_000)
    patience = Patience(connect_s=5.0, answer_s=1.0, slowest_bytes_s=2e6)
    with wire(sshd, 1_000_000, sshd.freeze_sessions) as config:
        with (
            pytest.raises(PushError, match="does not answer") as caught,
            SftpSession(config, patience) as session,
        ):
            push(session, report, [photo])
        sshd.end_sessions()
    assert caught.value.reason == "connection"
    assert names(sshd.inbox) == [part_name(photo), report.name]


def test_what_was_left_half_sent_is_no_hindrance(sshd: Sshd, tmp_path: Path) -> None:
    report, photo = write_result(tmp_path / "results", 1)
    (sshd.inbox / part_name(photo)).write_bytes(os.urandom(70_000))
    send(sshd, report, photo)
    assert names(sshd.inbox) == [photo.name, report.name]
    assert (sshd.inbox / photo.name).read_bytes() == photo.read_bytes()


def test_a_server_whose_disk_is_full(tmp_path: Path) -> None:
    with Sshd(tmp_path / "full", largest_file=100_000) as sshd:
        report, photo = write_result(tmp_path / "results", 1, 300_000)
        error = refused(sshd, report, photo)
        assert error.reason == "write"
        assert "is its disk full or read-only, is there a quota?" in str(error)
        assert [name for name in names(sshd.inbox) if not name.startswith(".")] == [report.name]


def test_a_really_full_disk_that_is_emptied(sshd: Sshd, tmp_path: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(sshd.inbox)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        (sshd.inbox / "other").write_bytes(bytes(900_000))
        report, photo = write_result(tmp_path / "results", 1, 300_000)
        assert refused(sshd, report, photo).reason == "write"
        (sshd.inbox / "other").unlink()
        send(sshd, report, photo)
        assert (sshd.inbox / photo.name).read_bytes() == photo.read_bytes()
        assert names(sshd.inbox) == [photo.name, report.name]
        subprocess.run(["mount", "-o", "remount,ro", str(sshd.inbox)], check=True)
        error = refused(sshd, *write_result(tmp_path / "results", 2))
        assert error.reason == "write"
    finally:
        subprocess.run(["umount", "-l", str(sshd.inbox)], check=True)


def test_a_folder_nobody_may_write_to(sshd: Sshd, tmp_path: Path) -> None:
    """A folder where nobody can make a file, root included."""
    config = push_config(sshd, folder="/proc")
    report, photo = write_result(tmp_path / "results", 1)
    with SftpSession(config, QUICK) as session, pytest.raises(PushError) as caught:
        push(session, report, [photo])
    assert caught.value.reason == "write"


def test_a_folder_in_the_photographs_place(sshd: Sshd, tmp_path: Path) -> None:
    report, photo = write_result(tmp_path / "results", 1)
    (sshd.inbox / photo.name).mkdir()
    (sshd.inbox / photo.name / "file").write_bytes(b"x")
    error = refused(sshd, report, photo)
    assert error.reason == "name"
    assert "could not give the file its name" in str(error)
    assert (sshd.inbox / photo.name / "file").read_bytes() == b"x"


def test_a_file_that_is_missing_here(sshd: Sshd, tmp_path: Path) -> None:
    report, photo = write_result(tmp_path / "results", 1)
    photo.unlink()
    with pytest.raises(FileNotFoundError) as missing:
        send(sshd, report, photo)
    assert missing.value.filename == str(photo)
