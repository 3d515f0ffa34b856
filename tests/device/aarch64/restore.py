"""`stillpi deblur` on an emulated processor, whose self-test may take its time; or on a real one.

    python restore.py BUNDLE PHOTOGRAPH MODEL [OPTION...]

Prints the self-test's result, what `stillpi deblur` prints, and the peak memory (that of the
emulator included).
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from device import cli
from device.restore.golden import self_test

SELF_TEST_LIMIT_S = 3600.0


def main(bundle: str, photograph: str, model: str, *options: str) -> int:
    if model != "none":
        # The test that was passed is remembered: the command does not repeat it.
        print(f"self-test: {self_test(Path(model), time_limit_s=SELF_TEST_LIMIT_S)}", flush=True)
    command = ["deblur", bundle, "-o", photograph, "--model", model, "--threads", "2", *options]
    code = cli.main(command)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak_mb:.0f} MB")
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
