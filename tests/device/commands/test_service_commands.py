"""The commands of the service against a service in a process of its own."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from service_process import ServiceProcess

from device.cli import main
from device.service.logs import JournalFormatter, set_up_logging


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    service = ServiceProcess(tmp_path_factory.mktemp("service"))
    service.start()
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.end()


def stillpi(service: ServiceProcess, *words: str) -> int:
    return main([*words, "--config", str(service.socket.parent / "stillpi.yaml")])


def test_trigger_status_and_reprocess(service: ServiceProcess, capsys) -> None:
    assert stillpi(service, "trigger") == 0
    first, warning = capsys.readouterr().out.splitlines()
    assert Path(first).name == "IMG_000001.capture"
    assert Path(first).is_dir()
    assert warning == "  warning: no-imu: no motion sensor is configured"
    assert stillpi(service, "trigger", "--long", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [photo["number"] for photo in answer["photographs"]] == [2, 3, 4]
    service.wait_until_done()
    assert stillpi(service, "status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["photographs"] == 4
    assert stillpi(service, "status") == 0
    assert "last photograph: IMG_000004" in capsys.readouterr().out
    assert stillpi(service, "deliver", "list") == 0
    assert capsys.readouterr().out == "nothing waits to be delivered\n"
    assert stillpi(service, "reprocess", "--since", "3") == 0
    assert capsys.readouterr().out == "to be restored again: 2\n"
    assert service.status()["queue"]["again"] == 0


def test_a_model_that_is_none_is_said_at_once(service: ServiceProcess, tmp_path, capsys) -> None:
    assert stillpi(service, "reprocess", "--model", str(tmp_path)) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_a_second_service_is_refused(service: ServiceProcess, capsys) -> None:
    assert stillpi(service, "run") == 2
    assert "the service runs already" in capsys.readouterr().err


def test_without_a_service_it_is_said_what_to_do(tmp_path: Path, capsys) -> None:
    assert main(["status", "--state", str(tmp_path)]) == 2
    assert "the service does not run here" in capsys.readouterr().err
    assert main(["status", "--state", str(tmp_path), "--config", "x"]) == 2
    assert main(["run", "--simulate", str(tmp_path), "--config", "x"]) == 2


def test_a_configuration_that_is_wrong(tmp_path: Path, capsys) -> None:
    path = tmp_path / "stillpi.yaml"
    path.write_text("camera: {kind: twin}\nimu: {kind: none}\nservice: {stat: x}\n")
    assert main(["run", "-c", str(path)]) == 2
    assert f"{path}:3: service.stat: found 'x', expected state?" in capsys.readouterr().err


def test_log_lines_carry_journalds_priorities() -> None:
    formatter = JournalFormatter("%(message)s")
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "two\nlines", None, None)
    assert formatter.format(record) == "<3>two\n<3>lines"


@pytest.mark.parametrize(
    ("environment", "line"),
    [({"JOURNAL_STREAM": "8:1"}, "<4>card is slow\n"), ({}, " WARNING card is slow\n")],
)
def test_logs_go_where_they_are_read(environment: dict[str, str], line: str) -> None:
    root, stream = logging.getLogger(), StringIO()
    before = root.handlers[:], root.level
    try:
        set_up_logging(environment, stream)
        logging.getLogger("device.x").warning("card is slow")
    finally:
        root.handlers[:], root.level = before[0], before[1]
    assert stream.getvalue().endswith(line)
