"""The socket of the service, with real connections: good requests, nonsense, and silence."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.service import control
from device.service.control import (
    LONGEST_REQUEST,
    ControlError,
    ControlServer,
    RequestError,
    ask,
    number_in,
)


@contextmanager
def serving(path: Path, **handlers) -> Iterator[ControlServer]:
    server = ControlServer(path, handlers)
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("control") / "c.sock"
    with serving(path, echo=lambda request: {"said": request}):
        yield path


def say(path: Path, data: bytes) -> dict:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    return json.loads(answer)


def test_a_question_and_its_answer(echo: Path) -> None:
    assert ask(echo, {"do": "echo", "x": [1, "é"]})["said"] == {"do": "echo", "x": [1, "é"]}
    assert stat.S_IMODE(echo.stat().st_mode) == 0o660


def test_what_cannot_be_asked_says_what_can(echo: Path) -> None:
    with pytest.raises(ControlError, match="do: found 'dance', expected one of echo"):
        ask(echo, {"do": "dance"})


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "found no end of line"),
        (b'{"do": "echo"', "found no end of line"),
        (b"\n", "found no JSON"),
        (b"[1]\n", "found list, expected an object"),
        (b"\xff\xfe\n", "found no JSON"),
        (b"[" * 50_000 + b"\n", "found no JSON"),
        (b" " * LONGEST_REQUEST, "found no end of line"),
    ],
)
def test_nonsense_is_answered(echo: Path, data: bytes, error: str) -> None:
    answer = say(echo, data)
    assert answer["ok"] is False
    assert error in answer["error"]


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_get_an_answer(echo: Path, data: bytes) -> None:
    assert say(echo, data + b"\n")["ok"] in (True, False)


def test_an_expected_error_is_the_answer_and_a_bug_is_logged(tmp_path: Path, caplog) -> None:
    def refuses(request: object) -> dict:
        raise RequestError("no room")

    def fails(request: object) -> dict:
        return {"x": 1 / 0}

    with serving(tmp_path / "c.sock", refuses=refuses, fails=fails) as server:
        with pytest.raises(ControlError, match=r"^no room$"):
            ask(server.path, {"do": "refuses"})
        with pytest.raises(ControlError, match="ended before it answered"):
            ask(server.path, {"do": "fails"})
        assert "ZeroDivisionError" in caplog.text
        with pytest.raises(ControlError, match=r"^no room$"):
            ask(server.path, {"do": "refuses"})
        assert server.is_well


def test_a_silent_client_keeps_nobody_out(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(control, "_REQUEST_S", 0.2)
    with (
        serving(tmp_path / "c.sock", hello=lambda request: {}) as server,
        socket.socket(socket.AF_UNIX) as silent,
    ):
        silent.connect(str(server.path))
        assert ask(server.path, {"do": "hello"})["ok"]
        silent.settimeout(10)
        assert silent.recv(1) == b""  # it was sent away


def test_too_many_at_once_are_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(control, "MOST_CONNECTIONS", 1)
    inside, go = threading.Event(), threading.Event()

    def waits(request: object) -> dict:
        inside.set()
        assert go.wait(10)
        return {}

    with serving(tmp_path / "c.sock", waits=waits) as server:
        first = threading.Thread(target=ask, args=(server.path, {"do": "waits"}))
        first.start()
        assert inside.wait(10)
        with pytest.raises(ControlError, match="too many requests"):
            ask(server.path, {"do": "waits"})
        go.set()
        first.join(10)


def test_nobody_there_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with pytest.raises(ControlError, match="the service does not run here"):
        ask(path, {"do": "status"})
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    with pytest.raises(ControlError, match="the service does not run here"):
        ask(path, {"do": "status"})
    with serving(path, hello=lambda request: {}):  # what a dead process left is replaced
        assert ask(path, {"do": "hello"})["ok"]
    assert not path.exists()


def test_an_answer_that_does_not_come(tmp_path: Path) -> None:
    go = threading.Event()
    with serving(tmp_path / "c.sock", waits=lambda request: {"x": go.wait(10)}) as server:
        with pytest.raises(ControlError, match=r"no answer within 0\.1 s"):
            ask(server.path, {"do": "waits"}, timeout_s=0.1)
        go.set()


@pytest.mark.parametrize("value", [True, -1, 1.5, "1", None, 2**70])
def test_numbers_are_numbers(value: object) -> None:
    with pytest.raises(RequestError, match="number: found"):
        number_in({"number": value}, "number")
    assert number_in({"number": 3}, "number") == number_in({}, "number", 3) == 3
