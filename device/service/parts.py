"""The parts of the service, what wakes each of them, and what can be asked of them.

    photographer   presses to bundles                  restorer   bundles to photographs
    delivery       photographs to spool and server     upkeep     room, Prometheus
    control        the local socket

Failure policy: `failed` names a part that ended or hangs; what is to be done about it is the
daemon's to say. A journal that cannot be read or written costs a part's step, not the part.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device.capture.open import Rig
from device.config import Config
from device.output import write_atomic
from device.service import status
from device.service.clock import Clock, boot_s
from device.service.control import ControlServer, Request, RequestError, number_in
from device.service.journal import Journal, JournalError
from device.service.names import Folders
from device.service.notify import Notifier
from device.service.photographer import Photographer, Press, TakenPhoto
from device.service.records import Photograph
from device.service.restorer import Restorer, networks_of
from device.service.worker import Worker

_log = logging.getLogger(__name__)

UPKEEP_S = 15.0
AGAIN_S = 10.0
TRIGGER_S = 60.0
_CAPTURE_PATIENCE_S = 300.0
_DELIVERY_PATIENCE_S = 4 * 3600.0  # one bundle over a slow line; silence ends it much sooner
_UPKEEP_PATIENCE_S = 900.0
_JOIN_S = 20.0


@dataclass(frozen=True)
class Surroundings:
    """What the service works with besides its own parts.

    open_rig : opens camera and motion sensor. deliver : does what delivery is due, returns for
        how many seconds nothing is. stop_delivery : ends a delivery that is going on.
    delivery_needs : what a person must mend before it can deliver.
    make_room : deletes what retention allows. refuse : why no photograph may be taken now.
    """

    open_rig: Callable[[], AbstractContextManager[Rig]]
    deliver: Callable[[Journal], float]
    make_room: Callable[[Journal], object]
    refuse: Callable[[], str | None]
    stop_delivery: Callable[[], None] = lambda: None
    delivery_needs: Callable[[], str | None] = lambda: None
    notifier: Notifier = field(default_factory=Notifier)
    clock: Clock = field(default_factory=Clock)


class Parts:
    """All parts, built around one journal. changed : called when something is worth a look.

    Raises OSError when the socket cannot be made.
    """

    def __init__(
        self,
        config: Config,
        folders: Folders,
        around: Surroundings,
        journal: Journal,
        changed: Callable[[], None],
    ) -> None:
        self.journal = journal
        self._config, self._folders, self._around = config, folders, around
        self._began_s, self._changed = time.monotonic(), changed
        self.photographer = Photographer(
            journal,
            folders.photos,
            around.open_rig,
            refuse=around.refuse,
            bracket_stops=config.shutter.bracket_stops,
            bundle_format=config.output.bundle_format,
            pressed=self._pressed,
            taken=lambda: self._restorer.wake(),
        )
        self.restorer = Restorer(
            journal,
            folders,
            config,
            clock=around.clock,
            restored=lambda: self._delivery.wake(),
        )
        restoring_s = config.service.restore_timeout_s + _CAPTURE_PATIENCE_S
        self._photographer = self._worker(
            "photographer", self.photographer.step, _CAPTURE_PATIENCE_S, changed
        )
        self._restorer = self._worker("restorer", self.restorer.step, restoring_s, changed)
        self._delivery = self._worker("delivery", self._deliver, _DELIVERY_PATIENCE_S, changed)
        self._upkeep = self._worker("upkeep", self._keep_up, _UPKEEP_PATIENCE_S, changed)
        self._workers = (self._photographer, self._restorer, self._delivery, self._upkeep)
        self._control = ControlServer(
            config.service.socket,
            {
                "trigger": self._asked_to_trigger,
                "status": lambda request: {"status": self.status()},
                "deliveries": lambda request: {
                    "deliveries": status.deliveries(self.journal, boot_s())
                },
                "keep": self._asked_to_keep,
                "reprocess": self._asked_to_reprocess,
            },
        )

    @staticmethod
    def _worker(
        name: str, step: Callable[[], float], patience_s: float, ended: Callable[[], None]
    ) -> Worker:
        return Worker(name, step, patience_s=patience_s, ended=ended)

    def start(self) -> None:
        """Start every part."""
        for worker in self._workers:
            worker.start()
        self._control.start()

    def close(self) -> None:
        """End every part in order; a photograph that is being taken is finished."""
        self._photographer.stop()
        self._control.close()
        self.restorer.stop()
        self._around.stop_delivery()
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            if not worker.join(_JOIN_S):
                _log.error("%s does not end", worker.name)
        self.photographer.close()

    def failed(self) -> str | None:
        """The name of a part that ended or hangs; None while all are well."""
        for part in (*self._workers, self._control):
            if not part.is_well:
                return part.name
        return None

    def press(self, press: Press) -> None:
        """The button was pressed; what becomes of it, light and log tell."""
        self.photographer.press(press)

    def _pressed(self) -> None:
        self._photographer.wake()
        self._changed()

    def status(self) -> dict[str, Any]:
        """How everything is doing. Raises JournalError."""
        return status.gather(
            self.journal,
            self._folders,
            self.photographer,
            self.restorer,
            self._around.clock.now(),
            running_s=time.monotonic() - self._began_s,
            refuses=self._around.refuse(),
            delivery_needs=self._around.delivery_needs(),
        )

    # --- steps

    def _deliver(self) -> float:
        try:
            return self._around.deliver(self.journal)
        except JournalError as error:
            _log.error("%s", error)
            return AGAIN_S

    def _keep_up(self) -> float:
        try:
            self._around.make_room(self.journal)
            file = self._config.service.prometheus
            if file is not None:
                write_atomic(file, status.prometheus(self.status()).encode())
        except OSError as error:
            _log.error("%s", error)
        return UPKEEP_S

    # --- requests

    def _asked_to_trigger(self, request: Request) -> Mapping[str, Any]:
        press = request.get("press", "short")
        if press not in ("short", "long"):
            raise RequestError(f"press: found {press!r}, expected short or long")
        photos = _in_time(self.photographer.press(press))
        return {
            "number": photos[0].number,
            "bundle": str(photos[0].bundle),
            "photographs": [
                {
                    "number": photo.number,
                    "bundle": str(photo.bundle),
                    "warnings": [notice.to_json() for notice in photo.notices],
                }
                for photo in photos
            ],
        }

    def _asked_to_keep(self, request: Request) -> Mapping[str, Any]:
        number, keep = number_in(request, "number"), request.get("keep", True)
        if not isinstance(keep, bool):
            raise RequestError(f"keep: found {keep!r}, expected true or false")
        if not self.journal.keep(number, keep):
            raise RequestError(f"number: found {number}, expected a photograph that is here")
        return {"number": number, "keep": keep}

    def _asked_to_reprocess(self, request: Request) -> Mapping[str, Any]:
        since, model = number_in(request, "since", 1), request.get("model")
        if model is not None and not (isinstance(model, str) and Path(model).is_absolute()):
            raise RequestError(f"model: found {model!r}, expected an absolute path")
        networks = networks_of(self.restorer.models(model)[0])
        numbers = [
            photograph.number
            for photograph in self.journal.photographs(since)
            if request.get("all") or not _is_work_of(networks, photograph)
        ]
        count = self.journal.restore_again(numbers, model)
        self._restorer.wake()
        return {"count": count}


def _is_work_of(networks: set[str], photograph: Photograph) -> bool:
    model = photograph.facts.get("model") or {}
    return model.get("sha256") in networks


def _in_time(answer: Future[list[TakenPhoto]]) -> list[TakenPhoto]:
    try:
        return answer.result(timeout=TRIGGER_S)
    except FutureTimeoutError:
        raise TimeoutError(f"no photograph within {TRIGGER_S:g} s; it may still come") from None
