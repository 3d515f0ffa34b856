"""The fuzz target, run for a short and bounded time from seeds that hold real frames."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

TARGET = Path(__file__).with_name("fuzz_parser.py")
RUNS = 4000
SEEDS = {
    "standard": "00 0A 55 50 18 05 11 0C 22 38 15 03 51 55 51 FF FF 01 00 00 08 C4 09 7A"
    " 55 52 00 80 FF 7F 01 00 C4 09 73",
    "headers": "00 00 55 51 55 51 55 52 55 55 55 51 43",
    "combined20": "01 03" + " 55 61 27 06 BC 01 79 06 55 00 E7 FE C4 FA 3E 00 EA FF 00 00" * 3,
    "combined28": "02 FF"
    + " 55 61 D8 FD 39 05 DE 05 BB 01 FF 00 FB FF AB 0F B1 ED 80 8A 1A 06 16 0E 29 01 19 03" * 3,
}


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed (it has no wheel for this Python or processor)",
)
def test_fuzzing_finds_nothing(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, text in SEEDS.items():
        (corpus / name).write_bytes(bytes.fromhex(text))
    options = [f"-runs={RUNS}", "-seed=1", "-max_len=256", "-max_total_time=60"]
    done = subprocess.run(
        [sys.executable, str(TARGET), str(corpus), *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TARGET.parents[2])},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "DONE" in done.stderr
