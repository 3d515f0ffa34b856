"""The configuration's sections of the service: button, light, queue, delivery, free space."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from device.config_types import FilePath, OrNone, Section

LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path: sockaddr_un has room for 108, the last one is zero."""

_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9._:-]{0,252}", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", re.ASCII)


def _socket(path: Path) -> Path:
    if len(str(path).encode()) > LONGEST_SOCKET:
        raise PydanticCustomError("socket", "a shorter path")
    return path


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise PydanticCustomError("host", "a host")
    return text


def _user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise PydanticCustomError("user", "a user")
    return text


def _remote_folder(text: str) -> str:
    # sftp's command lines have quotes and backslashes of their own, and an option starts with -.
    if not text.isprintable() or not text or set(text) & set("\"'\\*?[]{}") or text[0] == "-":
        raise PydanticCustomError("folder", "a folder")
    return text


Days = Annotated[float, Field(gt=0, le=36500)]
Megabytes = Annotated[int, Field(ge=0, le=10_000_000)]
Pin = Annotated[int, Field(ge=0, le=27)]

MEGABYTES = "megabytes, a whole number, 0 to 10000000"
PIN = "a GPIO number (BCM), 0 to 27"


class ServiceConfig(Section):
    """Where the service keeps its state, and what one restoration may take."""

    state: FilePath = Field(default=Path("/var/lib/stillpi"), description="the path of a folder")
    socket: Annotated[FilePath, AfterValidator(_socket)] = Field(
        default=Path("/run/stillpi/control.sock"),
        description=f"the path of a socket, at most {LONGEST_SOCKET} bytes long",
    )
    restore_memory_mb: int = Field(
        default=800, ge=200, le=65536, description="megabytes, a whole number, 200 to 65536"
    )
    restore_timeout_s: float = Field(
        default=120.0, ge=1, le=86400, description="seconds, 1 to 86400"
    )
    attempts: int = Field(default=3, ge=1, le=100, description="a number of attempts, 1 to 100")
    prometheus: Annotated[FilePath | None, OrNone] = Field(
        default=None, description="the path of a text file (NAME.prom), or none"
    )


class ShutterConfig(Section):
    """The button."""

    kind: Literal["gpio", "none"] = Field(default="none", description="gpio or none")
    pin: Pin = Field(default=17, description=PIN)
    pull_up: bool = Field(default=True, description="true or false")
    debounce_ms: float = Field(default=30.0, ge=1, le=500, description="milliseconds, 1 to 500")
    long_press_s: float = Field(default=0.8, ge=0.3, le=10, description="seconds, 0.3 to 10")
    bracket_stops: float = Field(default=1.0, gt=0, le=4, description="stops, above 0, at most 4")

    @property
    def debounce_s(self) -> float:
        """How long a level must hold to count."""
        return self.debounce_ms * 1e-3


class LedConfig(Section):
    """The light that tells how the camera is."""

    kind: Literal["gpio", "none"] = Field(default="none", description="gpio or none")
    pin: Pin = Field(default=27, description=PIN)


class PushConfig(Section):
    """A server that photographs are sent to with sftp.

    folder : on the server, relative to where sftp starts; it must exist.
    """

    host: Annotated[str, AfterValidator(_host)] = Field(description="a host name or an address")
    port: int = Field(default=22, ge=1, le=65535, description="a port, 1 to 65535")
    user: Annotated[str, AfterValidator(_user)] = Field(description="a user name on the server")
    key: FilePath = Field(
        default=Path("/etc/stillpi/push_key"), description="the path of a private key"
    )
    known_hosts: FilePath = Field(
        default=Path("/etc/stillpi/known_hosts"), description="the path of a known_hosts file"
    )
    folder: Annotated[str, AfterValidator(_remote_folder)] = Field(
        default=".",
        description="a folder on the server, without quotes, backslashes or wildcards",
    )


class DeliveryConfig(Section):
    """What is delivered besides the photograph and its report, and where to."""

    bundle: bool = Field(default=False, description="true or false")
    push: Annotated[PushConfig | None, OrNone] = Field(
        default=None, description="a section with host, user, ..., or none"
    )


class RetentionConfig(Section):
    """When delivered photographs are deleted, and when new ones are refused."""

    keep_days: Annotated[Days | None, OrNone] = Field(
        default=None, description="days, above 0, at most 36500, or none"
    )
    free_mb: Megabytes = Field(default=2000, description=MEGABYTES)
    floor_mb: Megabytes = Field(default=500, description=MEGABYTES)
