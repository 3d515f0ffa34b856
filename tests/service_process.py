"""The service as a process of its own, to be asked, stopped, and killed at any instant."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from waiting import until

from device.service.control import ControlError, ask
from device.service.names import Folders

QUICK_RESTORATION = """\
import json, pathlib, shutil, sys
request = json.load(sys.stdin)
photo, bundle = pathlib.Path(request["target"]), pathlib.Path(request["bundle"])
try:
    shutil.copyfile(bundle / "frame.jpg", photo)
    photo.with_suffix(".json").write_text('{"warnings": []}')
except OSError:
    sys.exit(4)  # the disk, as the real one says it
"""
"""In the place of a restoration: the picture as it is, without loading a library."""

REAL_RESTORATION = """\
import sys
from device.service.restore_child import main
sys.exit(main())
"""

_MAIN = """\
import sys
from device.cli import main
from device.service.restorer import Restorer
Restorer.__init__.__kwdefaults__["child"] = (sys.executable, "-P", "-c", {restoration!r})
sys.exit(main())
"""


class ServiceProcess:
    """`stillpi run` in a process group of its own, with everything in one folder.

    sections : of the configuration; camera and motion sensor are simulated where not given.
    restoration : the script that restores a photograph; without another one it is copied.
    """

    def __init__(
        self,
        folder: Path,
        sections: Mapping[str, Any] | None = None,
        *,
        restoration: str = QUICK_RESTORATION,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folders = Folders(folder / "state", folder / "state" / "photos")
        self.socket, self.log = folder / "c.sock", folder / "log"
        self._config, self._restoration = folder / "stillpi.yaml", restoration
        self._process: subprocess.Popen[bytes] | None = None
        config = {
            "camera": {"kind": "twin", "size": [96, 64], "exposure_s": 0.002},
            "imu": {"kind": "none"},
            "restoration": {"model": "none", "threads": 1},
            "retention": {"free_mb": 0, "floor_mb": 0},
            "service": {"state": str(self.folders.state), "socket": str(self.socket)},
        }
        self._config.write_text(json.dumps({**config, **(sections or {})}))

    def start(self) -> None:
        """Start it; returns at once."""
        main = _MAIN.format(restoration=self._restoration)
        command = [sys.executable, "-P", "-c", main, "run", "-c", str(self._config)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )

    def wait_until_ready(self, timeout_s: float = 120.0) -> None:
        """Return once it takes photographs."""
        until(lambda: self.is_alive() and self._camera() in ("ready", "taking"), timeout_s)

    def is_alive(self) -> bool:
        """Whether the process runs; fails when it ended by itself."""
        assert self._process is not None
        code = self._process.poll()
        assert code is None, f"exit code {code}:\n{self.log.read_text()[-4000:]}"
        return True

    def _camera(self) -> str | None:
        try:
            return str(self.status()["camera"])
        except ControlError:
            return None

    def ask(self, **request: Any) -> dict[str, Any]:
        """As control.ask."""
        return ask(self.socket, request, timeout_s=120.0)

    def status(self) -> dict[str, Any]:
        """The service's."""
        status: dict[str, Any] = self.ask(do="status")["status"]
        return status

    def wait_until_done(self, timeout_s: float = 600.0) -> None:
        """Return once every photograph is delivered."""

        def is_done() -> bool:
            queue = self.status()["queue"]
            return self.is_alive() and not any(queue[k] for k in ("restore", "spool", "push"))

        until(is_done, timeout_s)

    def kill(self) -> None:
        """SIGKILL to the whole process group, as a power cut."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, as systemd; the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)

    def end(self) -> None:
        """Leave nothing running."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
