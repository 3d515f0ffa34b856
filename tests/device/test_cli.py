"""The command itself: help, exit codes, errors on one line, bugs with their traceback."""

from __future__ import annotations

import argparse
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from device import cli
from device.commands.restoring import one_line, progress_bar
from device.errors import StillpiError
from device.version import software_name
from firmware_bridge.errors import LinkError

COMMANDS = ["deblur", "shoot", "inspect", "check", "import", "imu", "demo", "bench"]


def raising(error: BaseException) -> argparse.ArgumentParser:
    """A parser whose only command raises."""

    def run(arguments: argparse.Namespace) -> int:
        raise error

    parser = argparse.ArgumentParser()
    parser.set_defaults(run=run)
    return parser


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (StillpiError("a.json: field: found 1, expected 2"), "a.json: field: found 1, expected 2"),
        (LinkError("/dev/imu: cannot open"), "/dev/imu: cannot open"),
        (FileNotFoundError(2, "No such file or directory", "x"), "x: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (StillpiError("two\nlines"), "two lines"),
    ],
)
def test_expected_errors_are_one_line_and_exit_code_2(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "build_parser", lambda: raising(error))
    assert cli.main([]) == 2
    assert capsys.readouterr().err == f"stillpi: {line}\n"


def test_an_interrupt_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "build_parser", lambda: raising(KeyboardInterrupt()))
    assert cli.main([]) == 130


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "build_parser", lambda: raising(ZeroDivisionError("bug")))
    with pytest.raises(ZeroDivisionError):
        cli.main([])


def test_an_error_without_words_still_says_something() -> None:
    assert one_line(StillpiError()) == "StillpiError"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert all(f"    {command} " in text for command in COMMANDS)
    assert "stillpi deblur" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert "usage: stillpi" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == software_name()


@pytest.mark.parametrize("arguments", [[], ["sharpen"], ["deblur"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from device import cli; cli.build_parser()\n"
        "print({'cv2', 'numpy', 'scipy', 'onnxruntime', 'torch', 'rich', 'jinja2', 'PIL'}"
        " & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_a_reader_that_leaves_the_pipe_is_no_error() -> None:
    program = (
        "import sys, argparse; from device import cli\n"
        "def run(arguments):\n"
        "    for _ in range(100_000): print('a line of output')\n"
        "    return 0\n"
        "def parser():\n"
        "    parser = argparse.ArgumentParser(); parser.set_defaults(run=run); return parser\n"
        "cli.build_parser = parser; sys.exit(cli.main([]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process:
        assert process.stderr.read() == b""


def test_a_bar_is_drawn_on_a_terminal_only(capfd: pytest.CaptureFixture[str]) -> None:
    with progress_bar("IMG_1") as progress:
        progress("filter", 0.5)
    assert capfd.readouterr() == ("", "")
    program = (
        "from device.commands.restoring import progress_bar\n"
        "with progress_bar('IMG_1') as progress:\n"
        "    progress('filter', 0.5)\n"
        "print('done')"
    )
    terminal, its_end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stderr=its_end, stdout=subprocess.PIPE, env=environment
    )
    os.close(its_end)
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:  # how Linux says that the other end of a terminal has closed
        pass
    with process:
        assert process.stdout is not None
        assert process.stdout.read() == b"done\n"
    os.close(terminal)
    assert b"IMG_1: filter" in shown


def test_the_installed_command_is_this_one() -> None:
    command = Path(sys.executable).with_name("stillpi")
    if not command.exists():
        pytest.skip("the package is not installed in this environment")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == software_name()
