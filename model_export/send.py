"""A model bundle to the Pi over SSH: uploaded out of sight, tested there, switched to, or undone.

In the models folder on the Pi:

    NAME-3f5a9c01b2de   a bundle, named by the hash of its manifest; never changed
    current             link to the one in use: `stillpi deblur --model FOLDER/current`
    previous            link to the one before it
    .incoming-...       an upload under way, or one that broke off; the next send begins it anew

Failure policy: a bundle gets its name when it is whole and has passed its self-test on the Pi, and
`current` is renamed over in one step. A bundle that fails its self-test as `current` is taken back.
Whatever fails, the Pi goes on with what it had, and sending again is safe.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from device.errors import StillpiError
from device.restore.network import MANIFEST, verified_manifest

DEFAULT_FOLDER = "stillpi-models"
_FOLDER = re.compile(r"(~/)?[A-Za-z0-9._/+][A-Za-z0-9._/+-]*")
"""Folders that scp passes on as they are, by its old protocol as well."""
_CONNECTION_FAILED = 255
_NO_STILLPI, _REFUSED, _TAKEN_BACK, _NO_PREVIOUS = 10, 11, 12, 13
_UNCHANGED = "the Pi goes on with what it had"

_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "10",
    "LogLevel": "ERROR",
}

# The Pi's side. Arguments: folder, stillpi and, where it matters, the bundle's name.
_COMMON = """
set -eu
folder=$1 stillpi=$2 bundle=${3-}
incoming=.incoming-$bundle
command -v "$stillpi" > /dev/null || exit 10
fail() { printf '%s\\n' "$2" | tail -n 1; exit "$1"; }
point() { ln -sfn "$2" ".$1.new" && mv -fT ".$1.new" "$1"; }
"""
_PREPARE = """
mkdir -p "$folder"
cd "$folder"
rm -rf "$incoming"
if [ -d "$bundle" ] && "$stillpi" check --model "$bundle" > /dev/null 2>&1; then
    echo present
else
    mkdir "$incoming"
fi
"""
_SWITCH = """
cd "$folder"
if [ -d "$incoming" ]; then
    said=$("$stillpi" check --model "$incoming" 2>&1) || { rm -rf "$incoming"; fail 11 "$said"; }
    sync "$incoming"/* "$incoming"
    rm -rf "$bundle"  # a damaged one, or it would not have been sent
    mv -T "$incoming" "$bundle"
fi
was=$(readlink current) || was=
point current "$bundle"
if ! said=$("$stillpi" check --model current 2>&1); then
    if [ "$was" ]; then point current "$was"; else rm current; fi
    fail 12 "$said"
fi
if [ "$was" ] && [ "$was" != "$bundle" ]; then point previous "$was"; fi
sync .
echo "$was"
"""
_ROLL_BACK = """
cd "$folder" 2> /dev/null || exit 13
to=$(readlink previous) || exit 13
said=$("$stillpi" check --model previous 2>&1) || fail 11 "$said"
was=$(readlink current) || was=
point current "$to"
if [ "$was" ]; then point previous "$was"; fi
sync .
echo "$to"
"""


class SendError(StillpiError, ConnectionError):
    """A bundle did not get to the Pi, or is not used there; says what to do."""


@dataclass(frozen=True)
class Pi:
    """A Pi and how OpenSSH gets there.

    target : user@host, or a Host of the SSH configuration. folder : of its models, in the user's
    home unless it begins with /. stillpi : the program there. ssh_config : instead of the user's.
    """

    target: str
    folder: str = DEFAULT_FOLDER
    stillpi: str = "stillpi"
    port: int | None = None
    identity: Path | None = None
    ssh_config: Path | None = None

    def __post_init__(self) -> None:
        if not _FOLDER.fullmatch(self.folder):
            raise self.error("--folder", self.folder, "letters, digits, . _ / + -")
        if self.target.startswith("-") or not self.target:
            raise self.error("user@host", repr(self.target), "a user and a host")

    def error(self, field: str, found: object, expected: str) -> SendError:
        """What went wrong with this Pi, on one line."""
        return SendError(f"{self.target}: {field}: found {found}, expected {expected}")

    @property
    def models(self) -> str:
        """The folder as commands there take it: they begin in the user's home."""
        return self.folder.removeprefix("~/") or "."


def send_bundle(bundle: Path, pi: Pi) -> tuple[str, str]:
    """Make a bundle the Pi's current model; its name there, and of the one it replaced or "".

    Raises ModelError when the bundle itself is damaged, SendError for everything else.
    """
    manifest = verified_manifest(bundle)
    digest = hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", manifest.name).strip(".-") or "model"
    name = f"{plain}-{digest[:12]}"
    if _run_there(pi, _PREPARE, name) != "present":
        files = [MANIFEST, manifest.golden.file, *(network.file for network in manifest.networks)]
        _upload(pi, [bundle / file for file in files], f"{pi.models}/.incoming-{name}/")
    return name, _run_there(pi, _SWITCH, name)


def roll_back(pi: Pi) -> str:
    """Switch the Pi to its previous model; its name. Rolling back again undoes it.

    Raises SendError, also when there is none or it fails its self-test.
    """
    return _run_there(pi, _ROLL_BACK)


def _run_there(pi: Pi, script: str, *arguments: str) -> str:
    """Run a script of ours on the Pi; the last line it printed."""
    remote = shlex.join(["sh", "-s", "--", pi.models, pi.stillpi, *arguments])
    done = _call(pi, ["ssh", *_options(pi, "-p"), "--", pi.target, remote], _COMMON + script)
    said = _last_line(done.stdout)
    if done.returncode == 0:
        return said
    if done.returncode == _NO_STILLPI:
        expected = f"its program there, by --stillpi PATH; {_UNCHANGED}"
        raise pi.error("stillpi", f"no {pi.stillpi}", expected)
    if done.returncode == _NO_PREVIOUS:
        raise pi.error(f"{pi.folder}/previous", "nothing", "a model that was sent before")
    if done.returncode == _REFUSED:
        raise pi.error("self-test", said, f"a model that runs there; {_UNCHANGED}")
    if done.returncode == _TAKEN_BACK:
        raise pi.error("self-test after the switch", said, f"OK; taken back, {_UNCHANGED}")
    raise _failed(pi, "ssh", done)


def _upload(pi: Pi, files: list[Path], target: str) -> None:
    user, _, host = pi.target.rpartition("@")
    host = f"[{host}]" if ":" in host else host
    remote = f"{user}@{host}:{target}" if user else f"{host}:{target}"
    command = ["scp", "-q", *_options(pi, "-P"), "--", *map(str, files), remote]
    done = _call(pi, command, "")
    if done.returncode != 0:
        raise _failed(pi, "scp", done)


def _options(pi: Pi, port_flag: str) -> list[str]:
    options = [f"-o{name}={value}" for name, value in _OPTIONS.items()]
    if pi.ssh_config is not None:
        options += ["-F", str(pi.ssh_config)]
    if pi.port is not None:
        options += [port_flag, str(pi.port)]
    if pi.identity is not None:
        options += ["-i", str(pi.identity)]
    return options


def _call(pi: Pi, command: list[str], text: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True)
    except FileNotFoundError as error:
        expected = "OpenSSH's clients (Debian: openssh-client)"
        raise pi.error(command[0], "no such program here", expected) from error


def _failed(pi: Pi, program: str, done: subprocess.CompletedProcess[str]) -> SendError:
    reason = _last_line(done.stderr) or f"exit code {done.returncode}"
    if "Host key verification failed" in reason:
        expected = "the host key in known_hosts: connect once with ssh and compare it"
    elif "Permission denied (" in reason:
        expected = "a key that the Pi accepts: --identity, or ssh-copy-id"
    elif done.returncode == _CONNECTION_FAILED:
        expected = "a Pi that answers: is it on, and are host and --port right?"
    else:
        expected = f"success; send again when that is mended, {_UNCHANGED}"
    return pi.error(program, reason, expected)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
