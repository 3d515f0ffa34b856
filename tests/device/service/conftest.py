from __future__ import annotations

from collections.abc import Iterator

import pytest
from sshd import Sshd


@pytest.fixture(scope="package")
def one_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd") / "server") as server:
        yield server


@pytest.fixture
def sshd(one_sshd: Sshd) -> Sshd:
    """A real server on loopback: running, known, its inbox empty."""
    one_sshd.reset()
    return one_sshd
