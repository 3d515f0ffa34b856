"""From the configuration to what the service works with: the one place that wires it together."""

from __future__ import annotations

from device.capture.open import open_rig
from device.config import Config
from device.service import retention
from device.service.clock import Clock
from device.service.delivery import Delivery
from device.service.names import Folders
from device.service.parts import Surroundings


def folders_of(config: Config) -> Folders:
    """The service's folders."""
    return Folders(config.service.state, config.output.folder)


def surroundings(config: Config, clock: Clock | None = None) -> Surroundings:
    """The configured camera, delivery and retention. Nothing is opened yet."""
    folders, clock = folders_of(config), clock or Clock()
    delivery = Delivery(config.delivery, folders)
    return Surroundings(
        open_rig=lambda: open_rig(config),
        deliver=delivery.step,
        stop_delivery=delivery.stop,
        delivery_needs=lambda: delivery.needs_person,
        make_room=lambda journal: retention.enforce(
            journal, config.retention, folders, clock.now()
        ),
        refuse=lambda: retention.room_for_a_photograph(config.retention, folders),
        clock=clock,
    )
