"""Sessions with real servers that are down, strange, slow, or do not know us; what is said then."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from delivering import QUICK, push_config
from sshd import Sshd, free_port, ssh_key

from device.config_service import PushConfig
from device.service.push_errors import PushError
from device.service.sftp import Patience, SftpSession, quoted

HASTY = Patience(connect_s=1.0, answer_s=1.0)


def refused(config: PushConfig, patience: Patience = QUICK) -> PushError:
    with pytest.raises(PushError) as caught:
        SftpSession(config, patience)
    assert "\n" not in str(caught.value)
    place = f"{config.user}@{config.host}:{config.folder}: "
    assert str(caught.value).startswith(place)
    return caught.value


def test_a_session_carries_out_commands(sshd: Sshd) -> None:
    (sshd.inbox / "a file").write_bytes(b"12345")
    with SftpSession(push_config(sshd), QUICK) as session:
        assert session.do("pwd") == [f"Remote working directory: {sshd.inbox}"]
        assert session.size_of("a file") == 5
        assert session.size_of("no file") is None
        session.do(f"rm {quoted('a file')}")
        assert session.size_of("a file") is None
    session.close()


def test_a_server_that_is_down_and_comes_back(sshd: Sshd) -> None:
    sshd.stop()
    error = refused(push_config(sshd))
    assert error.reason == "connection"
    assert f"nothing listens on port {sshd.port} of 127.0.0.1: start its ssh server" in str(error)
    sshd.start()
    SftpSession(push_config(sshd), QUICK).close()


def test_a_changed_host_key(sshd: Sshd) -> None:
    known = sshd.known_hosts.read_text()
    sshd.change_host_key()
    error = refused(push_config(sshd))
    assert error.reason == "host-key"
    entry = f"[127.0.0.1]:{sshd.port}"
    assert f"ssh-keygen -R '{entry}' -f {sshd.known_hosts}, then ssh-keyscan -p" in str(error)
    assert "If not, somebody may be listening in between: send nothing there" in str(error)
    assert sshd.known_hosts.read_text() == known
    # What the message says to do, done.
    subprocess.run(
        ["ssh-keygen", "-R", entry, "-f", str(sshd.known_hosts)], check=True, capture_output=True
    )
    scanned = subprocess.run(
        ["ssh-keyscan", "-p", str(sshd.port), sshd.host], check=True, capture_output=True
    )
    sshd.known_hosts.write_bytes(sshd.known_hosts.read_bytes() + scanned.stdout)
    SftpSession(push_config(sshd), QUICK).close()


@pytest.mark.parametrize("content", [None, "", "other.example ssh-ed25519 AAAAC3Nza\n"])
def test_a_host_key_that_nobody_has_written_down(sshd: Sshd, content: str | None) -> None:
    sshd.known_hosts.unlink()
    if content is not None:
        sshd.known_hosts.write_text(content)
    error = refused(push_config(sshd))
    assert error.reason == "host-key"
    assert f"the server's key is not in {sshd.known_hosts}: ssh-keyscan -p" in str(error)
    assert sshd.known_hosts.exists() == (content is not None)


def test_a_key_the_server_does_not_know(sshd: Sshd, tmp_path: Path) -> None:
    other = ssh_key(tmp_path / "other key")
    error = refused(push_config(sshd, key=other))
    assert error.reason == "refused-key"
    assert f"does not let {sshd.user} in with '{other}': append '{other}.pub'" in str(error)


def test_a_user_the_server_does_not_know(sshd: Sshd) -> None:
    assert refused(push_config(sshd, user="no-such-user")).reason == "refused-key"


def test_a_key_that_is_not_there(sshd: Sshd, tmp_path: Path) -> None:
    error = refused(push_config(sshd, key=tmp_path / "none"))
    assert error.reason == "key"
    assert f"ssh-keygen -t ed25519 -N '' -f {tmp_path / 'none'} makes one" in str(error)


def test_a_key_that_is_none(sshd: Sshd, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_text("not a key\n")
    junk.chmod(0o600)
    error = refused(push_config(sshd, key=junk))
    assert error.reason == "key"
    assert "cannot be used" in str(error)


def test_a_key_that_others_may_read(sshd: Sshd, tmp_path: Path) -> None:
    key = Path(shutil.copy(sshd.key, tmp_path / "copy"))
    key.chmod(0o644)
    error = refused(push_config(sshd, key=key))
    assert error.reason == "key"
    assert str(error).endswith(f"chmod 600 {key}")
    key.chmod(0o600)
    SftpSession(push_config(sshd, key=key), QUICK).close()


def test_a_key_with_a_passphrase(sshd: Sshd, tmp_path: Path) -> None:
    key = Path(shutil.copy(sshd.key, tmp_path / "locked"))
    change = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret phrase", "-f", str(key)]
    subprocess.run(change, check=True, capture_output=True)
    error = refused(push_config(sshd, key=key))
    assert error.reason == "key"
    assert f"ssh-keygen -p -N '' -f {key}" in str(error)


def test_files_with_awkward_names(sshd: Sshd, tmp_path: Path) -> None:
    folder = tmp_path / 'a "100%" folder'
    folder.mkdir()
    key = Path(shutil.copy(sshd.key, folder / "key %d"))
    known_hosts = Path(shutil.copy(sshd.known_hosts, folder / "known hosts"))
    SftpSession(push_config(sshd, key=key, known_hosts=known_hosts), QUICK).close()


def test_a_host_without_an_address(sshd: Sshd) -> None:
    error = refused(push_config(sshd, host="no-such-host.invalid"))
    assert error.reason == "connection"
    assert "no address is known for no-such-host.invalid" in str(error)


def test_a_folder_that_is_not_there(sshd: Sshd) -> None:
    error = refused(push_config(sshd, folder="/no/such folder"))
    assert error.reason == "folder"
    assert "make it on the server, or mount the disk it is on" in str(error)
    (sshd.inbox / "file").write_text("x")
    assert refused(push_config(sshd, folder=str(sshd.inbox / "file"))).reason == "folder"


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_server_that_accepts_and_never_answers(sshd: Sshd, silent_port: int) -> None:
    begin_s = time.monotonic()
    error = refused(push_config(sshd, port=silent_port), HASTY)
    assert time.monotonic() - begin_s < 10
    assert error.reason == "connection"
    assert "does not answer" in str(error)


def test_a_server_that_stops_answering_in_the_middle(sshd: Sshd) -> None:
    session = SftpSession(push_config(sshd), Patience(5.0, 1.0))
    assert sshd.freeze_sessions() > 0
    begin_s = time.monotonic()
    with pytest.raises(PushError, match="does not answer") as caught:
        session.do("ls")
    session.close()
    assert time.monotonic() - begin_s < 10
    assert caught.value.reason == "connection"
    sshd.end_sessions()


def test_a_server_that_closes_the_connection(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            listener.accept()[0].close()

        accepting = threading.Thread(target=accept)
        accepting.start()
        error = refused(push_config(sshd, port=listener.getsockname()[1]))
        accepting.join()
    assert error.reason == "connection"


def test_something_that_is_no_ssh_server(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 2000)

        answering = threading.Thread(target=answer)
        answering.start()
        error = refused(push_config(sshd, port=listener.getsockname()[1]))
        answering.join()
    assert error.reason in ("connection", "other")


def test_a_session_that_was_cut_says_so(sshd: Sshd) -> None:
    session = SftpSession(push_config(sshd), QUICK)
    assert sshd.end_sessions() > 0
    with pytest.raises(PushError) as caught:
        session.do("ls")
    session.close()
    assert caught.value.reason == "connection"
    assert "cut" in str(caught.value)


def test_a_stop_from_another_thread_ends_a_wait(sshd: Sshd) -> None:
    stop = threading.Event()
    session = SftpSession(push_config(sshd), Patience(5.0, 60.0), stop)
    sshd.freeze_sessions()
    begin_s = time.monotonic()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(PushError, match="stopped"):
        session.do("ls")
    session.close()
    assert time.monotonic() - begin_s < 30
    sshd.end_sessions()


def test_a_stop_ends_connecting_too(sshd: Sshd, silent_port: int) -> None:
    stop = threading.Event()
    begin_s = time.monotonic()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(PushError, match="stopped"):
        SftpSession(push_config(sshd, port=silent_port), Patience(60.0, 60.0), stop)
    assert time.monotonic() - begin_s < 30


def test_a_server_without_sftp(tmp_path: Path) -> None:
    with Sshd(tmp_path / "server", sftp=False) as sshd:
        error = refused(push_config(sshd))
    assert error.reason == "other"
    assert "the server has no sftp" in str(error)


def test_without_the_program(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PushError, match="sudo apt install openssh-client"):
        SftpSession(push_config(sshd), QUICK)


def test_nobody_listens(sshd: Sshd) -> None:
    assert refused(push_config(sshd, port=free_port())).reason == "connection"
