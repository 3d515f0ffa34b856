from __future__ import annotations

import copy
from typing import Any

import pytest

from device.capture.tuning import fixed_tone
from device.errors import CameraError

CURVE = [0, 0, 1024, 5040, 2048, 9338, 65535, 65535]


def version_2(stage: dict[str, Any]) -> dict[str, Any]:
    return {"version": 2.0, "algorithms": [{"rpi.awb": {}}, {"rpi.contrast": stage}]}


def test_both_versions_of_the_file() -> None:
    stage = {"ce_enable": 1, "lo_max": 500, "gamma_curve": CURVE}
    for tuning in (version_2(stage), {"rpi.contrast": stage}):
        before = copy.deepcopy(tuning)
        changed, tone = fixed_tone(tuning, "imx477.json")
        assert tuning == before
        found = changed["algorithms"][1] if "algorithms" in changed else changed
        assert found["rpi.contrast"] == {"ce_enable": 0, "lo_max": 500, "gamma_curve": CURVE}
        assert tone.points[0] == (0.0, 0.0)
        assert tone.points[2] == (2048 / 65535, 9338 / 65535)
        assert tone.points[-1] == (1.0, 1.0)


def test_a_curve_that_ends_early_stays_level() -> None:
    _, tone = fixed_tone(version_2({"gamma_curve": [0, 0, 32768, 65535]}), "x.json")
    assert tone.points[-2:] == ((32768 / 65535, 1.0), (1.0, 1.0))


@pytest.mark.parametrize(
    "tuning",
    [
        {},
        {"version": 2.0},
        {"version": 2.0, "algorithms": {"rpi.contrast": {}}},
        {"version": 2.0, "algorithms": [3, {"rpi.contrast": 3}]},
        version_2({}),
        version_2({"gamma_curve": [0, 0, 1]}),
        version_2({"gamma_curve": "0 0 1 1"}),
        version_2({"gamma_curve": [0, 0, 65535, "white"]}),
        version_2({"gamma_curve": [0, 0, 65535, 0]}),
        version_2({"gamma_curve": [0, 65535, 65535, 0]}),
        version_2({"gamma_curve": [0, 0, 70000, 65535]}),
    ],
)
def test_a_curve_that_cannot_be_known_is_refused(tuning: dict[str, Any]) -> None:
    with pytest.raises(CameraError, match=r"^x\.json: "):
        fixed_tone(tuning, "x.json")
