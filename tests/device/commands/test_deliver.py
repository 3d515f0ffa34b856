"""`stillpi deliver` against a real sshd and a real control socket."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from delivering import names, write_result
from sshd import Sshd

from device.cli import main
from device.service.control import ControlServer, RequestError
from device.service.journal import Journal
from device.service.records import Result
from device.service.status import deliveries


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    spool = tmp_path / "state" / "spool"
    spool.mkdir(parents=True)
    return spool


def configuration(tmp_path: Path, push: str = "none") -> Path:
    path = tmp_path / "stillpi.yaml"
    path.write_text(
        "camera: {kind: twin}\nimu: {kind: emulator}\nservice: {state: state}\n"
        f"delivery:\n  push: {push}\n"
    )
    return path


def server_section(sshd: Sshd, folder: str | None = None) -> str:
    return (
        f"{{host: {sshd.host}, port: {sshd.port}, user: {sshd.user}, key: {sshd.key},"
        f" known_hosts: {sshd.known_hosts}, folder: {folder or sshd.inbox}}}"
    )


def deliver_test(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(["deliver", "test", "-c", str(path)])
    out, err = capsys.readouterr()
    return code, out, err


def test_all_is_well(
    sshd: Sshd, tmp_path: Path, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (spool / "IMG_000001.jpg").write_bytes(b"x")
    (spool / "IMG_000001.json").write_bytes(b"{}")
    code, out, err = deliver_test(configuration(tmp_path, server_section(sshd)), capsys)
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith(f"{spool}: OK, 1 photographs to fetch, ")
    assert second.startswith(f"{sshd.user}@127.0.0.1:{sshd.inbox}: OK, a file was sent, confirmed")
    assert names(sshd.inbox) == []
    assert names(spool) == ["IMG_000001.jpg", "IMG_000001.json"]


def test_without_a_server(tmp_path: Path, spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = deliver_test(configuration(tmp_path), capsys)
    assert (code, err) == (0, "")
    assert "no server is configured (delivery.push): photographs wait in the spool" in out


def test_both_are_tried_and_each_says_what_is_wrong(
    sshd: Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No spool, and a folder of the server that is not there."""
    path = configuration(tmp_path, server_section(sshd, "/no/such/folder"))
    code, out, err = deliver_test(path, capsys)
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith(f"stillpi: {tmp_path / 'state' / 'spool'}: spool: found no folder, exp")
    assert second.startswith(f"stillpi: {sshd.user}@127.0.0.1:/no/such/folder: the folder is not")


def test_a_server_that_is_down(
    sshd: Sshd, tmp_path: Path, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sshd.stop()
    code, out, err = deliver_test(configuration(tmp_path, server_section(sshd)), capsys)
    assert code == 2
    assert out.startswith(f"{spool}: OK")
    assert "nothing listens on port" in err
    assert err.count("\n") == 1


def test_a_spool_on_a_read_only_disk(
    tmp_path: Path, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=100k,ro", "tmpfs", str(spool)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a read-only disk is not permitted here")
    try:
        code, _, err = deliver_test(configuration(tmp_path), capsys)
    finally:
        subprocess.run(["umount", "-l", str(spool)], check=True)
    assert code == 2
    assert err == (
        f"stillpi: {spool}: Read-only file system: the card may be failing; save what is on it and"
        " replace it\n"
    )


def test_a_wrong_configuration_names_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configuration(tmp_path, "{host: nas, user: pi, prot: 22}")
    code, out, err = deliver_test(path, capsys)
    assert (code, out) == (2, "")
    assert f"{path}:5: delivery.push.prot: found 22, expected port?" in err


def test_what_waits_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        control = ControlServer(
            tmp_path / "control.sock",
            {"deliveries": lambda request: {"deliveries": deliveries(journal, 1000.0)}},
        )
        control.start()
        try:
            assert main(["deliver", "list", "--state", str(tmp_path)]) == 0
            assert capsys.readouterr().out == "nothing waits to be delivered\n"
            for number in (1, 2, 3):
                assert journal.reserve() == number
                journal.taken(number, tmp_path / f"IMG_{number:06d}.capture")
                job = journal.next_job("restore", 0)
                assert job is not None
                report, photo = write_result(tmp_path, number, 10)
                journal.restored(job, Result(photo, report))
            for _ in range(2):
                job = journal.next_job("spool", 2000.0)
                assert job is not None
                journal.failed(job, "IMG_000001: the disk is full", retry_at_s=1040.0)
            job = journal.next_job("spool", 0)
            assert job is not None
            journal.spooled(job, "spool", push=True)
            assert main(["deliver", "list", "--state", str(tmp_path)]) == 0
            assert capsys.readouterr().out.splitlines() == [
                "IMG_000001 to the spool: tried 2 times, again in 40 s: the disk is full",
                "IMG_000002 to the server: in its turn",
                "IMG_000003 to the spool: in its turn",
            ]
            assert main(["deliver", "list", "--json", "--state", str(tmp_path)]) == 0
            first, second, _ = json.loads(capsys.readouterr().out)
        finally:
            control.close()
    assert first == {
        "number": 1, "name": "IMG_000001", "kind": "spool", "attempts": 2,
        "last_error": "IMG_000001: the disk is full", "next_try_s": 40.0,
    }  # fmt: skip
    assert (second["kind"], second["last_error"], second["next_try_s"]) == ("push", None, 0.0)


def test_keeping_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def keep(request: dict[str, object]) -> dict[str, object]:
        if request["number"] == 99:
            raise RequestError("number: found 99, expected a photograph that is here")
        asked.append((request["number"], request["keep"]))
        return {}

    control = ControlServer(tmp_path / "control.sock", {"keep": keep})
    control.start()
    try:
        assert main(["deliver", "keep", "12", "13", "--state", str(tmp_path)]) == 0
        assert main(["deliver", "keep", "--not", "12", "--state", str(tmp_path)]) == 0
        assert main(["deliver", "keep", "99", "--state", str(tmp_path)]) == 2
    finally:
        control.close()
    assert asked == [(12, True), (13, True), (12, False)]
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "IMG_000012: kept", "IMG_000013: kept", "IMG_000012: deleted when its time comes",
    ]  # fmt: skip
    assert err.startswith("stillpi: ")
    assert "expected a photograph that is here" in err
