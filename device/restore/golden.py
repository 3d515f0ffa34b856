"""The self-test of a model: its golden tile, run in a child process before the first use here.

The runtime is native code that picks other kernels on other processors: it may crash there, or
compute something else. So a child process goes first, and what it found is remembered in the
user's cache folder for this bundle, this runtime and this processor.

Failure policy: a result that differs, a crash and a time-out are a ModelError, and the next use
tries again. A note that cannot be read or written costs another test and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from device.errors import ModelError
from device.restore.golden_tile import CODES, GoldenTile, read_golden, without_halo
from device.restore.network import MANIFEST, Manifest, ModelBundle, load_model, verified_manifest
from firmware_bridge.whole_file import whole_file

TIME_LIMIT_S = 120.0
_EXIT_REFUSED = 2
_TIMED_RUNS = 10
_CLEARLY_FASTER = 0.8
_PROCESSOR_FACTS = {
    "model name", "flags", "Features", "CPU implementer", "CPU part", "CPU variant", "Model",
}  # fmt: skip
"""Of /proc/cpuinfo, on x86 and Arm."""


@dataclass(frozen=True, slots=True)
class NetworkTest:
    """One network on the golden tile: the largest difference in 8-bit codes, seconds a tile."""

    file: str
    worst_codes: float
    seconds: float


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What the child process measured of every network of a bundle."""

    networks: tuple[NetworkTest, ...]

    @property
    def best_file(self) -> str:
        """The bundle's first network, unless another is clearly faster here."""
        first, *others = self.networks
        fastest = min(self.networks, key=lambda network: network.seconds)
        clearly = fastest.seconds < _CLEARLY_FASTER * first.seconds
        return fastest.file if others and clearly else first.file

    def __str__(self) -> str:
        tested = "; ".join(
            f"{network.file} differs by at most {network.worst_codes:.3f} of {CODES} codes, "
            f"{1000 * network.seconds:.0f} ms a tile"
            for network in self.networks
        )
        return f"{tested}; {self.best_file} runs" if len(self.networks) > 1 else tested


def load_tested(folder: Path, *, fastest: bool = True) -> ModelBundle:
    """Load a model bundle, self-tested on this machine now or at an earlier use.

    fastest : the network that runs best here; otherwise the bundle's first, the same everywhere.
    Raises ModelError as load_model and self_test do.
    """
    manifest = verified_manifest(folder)
    file = _remembered(folder, manifest)
    if file is None:
        file = self_test(folder).best_file
    return load_model(folder, file=file if fastest else None)


def self_test(folder: Path, *, time_limit_s: float = TIME_LIMIT_S) -> SelfTest:
    """Run the golden tile of a bundle in a child process, and remember that it went well.

    Raises ModelError naming the bundle, what was found and what was expected when a result
    differs by more than the manifest's tolerance, or the child crashes or gives no result in time.
    """
    manifest = verified_manifest(folder)
    test = _in_child(folder, time_limit_s)
    tolerance = manifest.golden.tolerance_codes
    for network in test.networks:
        if not network.worst_codes <= tolerance:
            found = f"a golden tile that differs by {network.worst_codes:.3g} of {CODES} codes"
            where = folder / network.file
            raise ModelError(f"{where}: self-test: found {found}, expected at most {tolerance:g}")
    _remember(folder, test.best_file)
    return test


def _in_child(folder: Path, time_limit_s: float) -> SelfTest:
    # -P: a folder `device` where the user happens to be is not this package.
    command = [sys.executable, "-P", "-m", "device.restore.golden", str(folder)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=time_limit_s
        )
    except subprocess.TimeoutExpired:
        raise _failed(folder, f"no result after {time_limit_s:g} s") from None
    except OSError as error:
        raise _failed(folder, f"no child process, {error.strerror}") from error
    if done.returncode < 0:
        raise _failed(folder, f"a crash by {_signal_name(-done.returncode)}")
    if done.returncode == _EXIT_REFUSED:
        raise ModelError(done.stdout.strip())
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise _failed(folder, last)
    return SelfTest(tuple(NetworkTest(**network) for network in json.loads(done.stdout)))


def _failed(folder: Path, found: str) -> ModelError:
    return ModelError(f"{folder}: self-test: found {found}, expected the golden tile's result")


def _signal_name(number: int) -> str:
    return {known.value: known.name for known in signal.Signals}.get(number, f"signal {number}")


# In the child process


def main(arguments: Sequence[str]) -> int:
    """FOLDER: print each network's test as JSON; 2 and one line when it is refused."""
    try:
        tests = _measure(Path(arguments[0]))
    except ModelError as error:
        print(error)
        return _EXIT_REFUSED
    print(json.dumps([asdict(test) for test in tests]))
    return 0


def _measure(folder: Path) -> list[NetworkTest]:
    manifest = verified_manifest(folder)
    tile = read_golden(folder / manifest.golden.file, manifest)
    models = [load_model(folder, file=n.file) for n in manifest.networks]
    worst_codes = [_worst_codes(model, tile) for model in models]
    seconds = [math.inf] * len(models)
    # In turns: what else the machine does disturbs them alike.
    for _ in range(_TIMED_RUNS):
        for i, model in enumerate(models):
            begin = time.perf_counter()
            model.residual(tile.inputs)
            seconds[i] = min(seconds[i], time.perf_counter() - begin)
    files = [model.running.file for model in models]
    return [NetworkTest(*values) for values in zip(files, worst_codes, seconds, strict=True)]


def _worst_codes(model: ModelBundle, tile: GoldenTile) -> float:
    residual = without_halo(model.residual(tile.inputs), model.manifest.tile.halo)
    worst = CODES * float(np.abs(residual - tile.residuals[model.running.file]).max())
    return worst if math.isfinite(worst) else math.inf


# What is remembered


def _remembered(folder: Path, manifest: Manifest) -> str | None:
    """The network to run, when this bundle passed here before."""
    note = _note(folder)
    try:
        file = json.loads(note.read_text(encoding="utf-8"))["runs"] if note else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return file if file in [network.file for network in manifest.networks] else None


def _remember(folder: Path, file: str) -> None:
    note = _note(folder)
    if note is None:
        return
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(note) as stream:
            stream.write(json.dumps({"bundle": str(folder), "runs": file}).encode())


def _note(folder: Path) -> Path | None:
    """Where a passed test is noted: its name says of what; None where there is no cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        try:
            cache = Path.home() / ".cache"
        except RuntimeError:
            return None
    manifest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    subject = [manifest, version("onnxruntime"), platform.machine(), *_processor()]
    name = hashlib.sha256(json.dumps(subject).encode()).hexdigest()
    return cache / "stillpi" / "self-tests" / f"{name}.json"


def _processor() -> list[str]:
    """What the kernel says of the kind of processor; nothing where it does not."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = text.splitlines()
    return sorted({line for line in lines if line.partition(":")[0].strip() in _PROCESSOR_FACTS})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
