"""Sending models over a real SSH server, on the loopback, to this environment's own stillpi."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from model_bundles import good_bundle, good_network, replace_file
from sshd import Sshd, ssh_key

from device.errors import ModelError
from model_export import cli
from model_export.send import Pi, SendError, roll_back, send_bundle

STILLPI = Path(sys.executable).with_name("stillpi")

pytestmark = pytest.mark.skipif(
    not STILLPI.exists(), reason="stillpi is not installed beside Python"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(scope="module")
def stillpi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This environment's own, with a cache folder of the tests."""
    folder = tmp_path_factory.mktemp("bin")
    return program(folder / "stillpi", f'XDG_CACHE_HOME={folder} exec {STILLPI} "$@"')


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def pi_at(server: Sshd, folder: Path, stillpi: Path) -> Pi:
    config = server.folder / "ssh_config"
    config.write_text(f"Host *\nUserKnownHostsFile {server.known_hosts}\n")
    return Pi(
        f"{server.user}@{server.host}",
        folder=str(folder),
        stillpi=str(stillpi),
        port=server.port,
        identity=server.key,
        ssh_config=config,
    )


@pytest.fixture
def pi(server: Sshd, stillpi: Path, tmp_path: Path) -> Pi:
    return pi_at(server, tmp_path / "pi" / "models", stillpi)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two good bundles that differ."""
    folder = tmp_path_factory.mktemp("bundles")
    return [
        good_bundle(folder / "first", 0.25, name="first"),
        good_bundle(folder / "second", 0.5, name="second one"),
    ]


def links(pi: Pi) -> dict[str, str]:
    """What current and previous point to."""
    found = {name: Path(pi.folder) / name for name in ("current", "previous")}
    return {name: str(path.readlink()) for name, path in found.items() if path.is_symlink()}


def names(pi: Pi) -> list[str]:
    return sorted(path.name for path in Path(pi.folder).iterdir())


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(SendError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_first_bundle_becomes_current_whole(pi: Pi, bundles: list[Path]) -> None:
    name, before = send_bundle(bundles[0], pi)
    assert (name[:6], before) == ("first-", "")
    assert links(pi) == {"current": name}
    assert names(pi) == ["current", name]
    there = Path(pi.folder) / "current"
    assert sorted(path.name for path in there.iterdir()) == [
        "golden.npz", "manifest.json", "model.onnx",
    ]  # fmt: skip
    for file in there.iterdir():
        assert file.read_bytes() == (bundles[0] / file.name).read_bytes()


def test_the_one_before_is_kept_and_rolled_back_to(pi: Pi, bundles: list[Path]) -> None:
    first, _ = send_bundle(bundles[0], pi)
    second, before = send_bundle(bundles[1], pi)
    assert before == first
    assert second.startswith("second-one-")
    assert links(pi) == {"current": second, "previous": first}
    assert send_bundle(bundles[1], pi) == (second, second)
    assert links(pi) == {"current": second, "previous": first}
    assert roll_back(pi) == first
    assert links(pi) == {"current": first, "previous": second}
    assert roll_back(pi) == second
    assert links(pi) == {"current": second, "previous": first}


def test_a_bundle_that_fails_there_changes_nothing(
    pi: Pi, bundles: list[Path], tmp_path: Path
) -> None:
    first, _ = send_bundle(bundles[0], pi)
    bad = Path(shutil.copytree(bundles[1], tmp_path / "bad"))
    replace_file(bad, "model.onnx", good_network(0.75))
    message = refused(lambda: send_bundle(bad, pi))
    assert "self-test: found a golden tile that differs by" in message
    assert message.endswith("the Pi goes on with what it had")
    assert links(pi) == {"current": first}
    assert names(pi) == ["current", first]


def test_a_switch_after_which_it_fails_is_taken_back(
    pi: Pi, bundles: list[Path], tmp_path: Path
) -> None:
    """A stillpi that can run the model where it was uploaded, not where it is used."""
    script = 'if [ "$3" = current ]; then echo "stillpi: no memory" >&2; exit 2; fi'
    failing = replace(
        pi, stillpi=str(program(tmp_path / "stillpi", f'{script}\nexec {pi.stillpi} "$@"'))
    )
    message = refused(lambda: send_bundle(bundles[0], failing))
    assert "self-test after the switch: found stillpi: no memory" in message
    assert links(pi) == {}
    first, _ = send_bundle(bundles[0], pi)
    refused(lambda: send_bundle(bundles[1], failing))
    assert links(pi) == {"current": first}
    second, before = send_bundle(bundles[1], pi)
    assert before == first
    assert links(pi) == {"current": second, "previous": first}


def test_an_upload_that_breaks_off_is_not_seen_and_can_be_repeated(
    pi: Pi, bundles: list[Path], stillpi: Path, tmp_path: Path
) -> None:
    """On a disk with no room for the golden tile."""
    first, _ = send_bundle(bundles[0], pi)
    assert (bundles[1] / "golden.npz").stat().st_size > 4096
    with Sshd(tmp_path / "sshd", largest_file=4096) as full:
        message = refused(lambda: send_bundle(bundles[1], pi_at(full, Path(pi.folder), stillpi)))
    assert ": scp: found " in message
    assert message.endswith("the Pi goes on with what it had")
    hidden = [name for name in names(pi) if name not in ("current", first)]
    assert [name[:10] for name in hidden] == [".incoming-"]
    assert links(pi) == {"current": first}
    second, _ = send_bundle(bundles[1], pi)
    assert names(pi) == sorted(["current", "previous", first, second])


def test_a_bundle_damaged_there_is_sent_again(pi: Pi, bundles: list[Path]) -> None:
    first, _ = send_bundle(bundles[0], pi)
    (Path(pi.folder) / first / "model.onnx").write_bytes(b"worn out")
    assert "model.onnx: sha256" in refused(lambda: roll_back_to_damaged(pi, bundles[1]))
    assert send_bundle(bundles[0], pi)[0] == first
    there = Path(pi.folder) / "current" / "model.onnx"
    assert there.read_bytes() == (bundles[0] / "model.onnx").read_bytes()


def roll_back_to_damaged(pi: Pi, other: Path) -> None:
    second, _ = send_bundle(other, pi)
    try:
        roll_back(pi)
    finally:
        assert links(pi)["current"] == second


def test_a_damaged_bundle_is_not_sent(pi: Pi, bundles: list[Path], tmp_path: Path) -> None:
    bad = Path(shutil.copytree(bundles[0], tmp_path / "bad"))
    (bad / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"model\.onnx: sha256: found"):
        send_bundle(bad, pi)
    assert not Path(pi.folder).exists()


def test_nothing_to_roll_back_to(pi: Pi, bundles: list[Path]) -> None:
    expected = f"{pi.target}: {pi.folder}/previous: found nothing, expected a model that was sent"
    assert refused(lambda: roll_back(pi)).startswith(expected)
    send_bundle(bundles[0], pi)
    assert refused(lambda: roll_back(pi)).startswith(expected)


def test_a_pi_without_stillpi(pi: Pi, bundles: list[Path]) -> None:
    message = refused(lambda: send_bundle(bundles[0], replace(pi, stillpi="stillpi-of-another-pi")))
    assert "stillpi: found no stillpi-of-another-pi, expected its program there, by --st" in message
    assert not Path(pi.folder).exists()


def test_a_host_key_that_changed_and_one_that_is_not_known(
    pi: Pi, server: Sshd, bundles: list[Path]
) -> None:
    expected = "ssh: found Host key verification failed., expected the host key in known_hosts"
    server.change_host_key()
    try:
        assert expected in refused(lambda: send_bundle(bundles[0], pi))
        server.known_hosts.write_text("")
        assert expected in refused(lambda: send_bundle(bundles[0], pi))
        assert server.known_hosts.read_text() == ""
    finally:
        server.trust()
    assert not Path(pi.folder).exists()


def test_a_key_it_does_not_accept(pi: Pi, bundles: list[Path], tmp_path: Path) -> None:
    other = replace(pi, identity=ssh_key(tmp_path / "other"))
    message = refused(lambda: send_bundle(bundles[0], other))
    assert "Permission denied" in message
    assert message.endswith("expected a key that the Pi accepts: --identity, or ssh-copy-id")


def test_a_pi_that_does_not_answer(pi: Pi, bundles: list[Path]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # taken, and nobody listens
        nobody = replace(pi, port=silent.getsockname()[1])
        message = refused(lambda: send_bundle(bundles[0], nobody))
    assert "Connection refused, expected a Pi that answers: is it on, and are host" in message


@pytest.mark.parametrize(
    ("change", "field"),
    [({"folder": "a b"}, "--folder"), ({"folder": "-rf"}, "--folder"), ({"target": "-oX"}, "user")],
)
def test_what_no_command_line_should_carry(pi: Pi, change: dict[str, str], field: str) -> None:
    assert f": {field}" in refused(lambda: replace(pi, **change))


def test_the_command_line(pi: Pi, bundles: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        pi.target, "--folder", pi.folder, "--stillpi", pi.stillpi, "--port", str(pi.port),
        "--identity", str(pi.identity), "--ssh-config", str(pi.ssh_config),
    ]  # fmt: skip
    current = f"{pi.target}:{pi.folder}/current is "
    assert cli.main(["send", str(bundles[0]), *options]) == 0
    first = links(pi)["current"]
    assert capsys.readouterr().out == f"{current}{first}\n"
    assert cli.main(["send", str(bundles[1]), *options]) == 0
    second = links(pi)["current"]
    assert capsys.readouterr().out == f"{current}{second}, previous is {first}\n"
    assert cli.main(["send", str(bundles[1]), *options]) == 0
    assert capsys.readouterr().out == f"{pi.target}: {second} was and is the current model\n"
    assert cli.main(["rollback", *options]) == 0
    assert capsys.readouterr().out == f"{current}{first} again\n"
    assert cli.main(["send", str(bundles[0]), *options, "--stillpi", "no-such"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"stillpi-export: {pi.target}: stillpi: found no no-such")
