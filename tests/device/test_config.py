from __future__ import annotations

import contextlib
import copy
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from device import config as config_module
from device.capture.mounting import rotation_from_axes
from device.config import (
    Config,
    EmulatorConfig,
    PicameraConfig,
    ReplayConfig,
    SerialConfig,
    TwinConfig,
    default_config,
    load_config,
    simulated_config,
)
from device.config_errors import ConfigError
from device.errors import InputError

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "config.example.yaml"

# Every key of every kind of section, with a value that is right.
PICAMERA: dict[str, Any] = {
    "kind": "picamera2",
    "number": 1,
    "sensor_mode": [2028, 1520],
    "size": [1014, 760],
    "exposure_s": 0.05,
    "analogue_gain": 4,
    "colour_gains": [2.0, 1.5],
    "max_exposure_s": 0.1,
    "max_analogue_gain": 16.0,
    "lens_position": 0.5,
    "lens_focal_mm": 6.0,
    "line_time_us": 28.571,
    "rotate_180": True,
    "orientation": 3,
    "tuning_file": "imx477.json",
}
MOTION = {"kind": "recording", "file": "poses.txt", "rate_deg_s": 5, "seed": 1}
TWIN: dict[str, Any] = {
    "kind": "twin",
    "scene": "scene.jpg",
    "size": [640, 480],
    "exposure_s": 0.05,
    "line_time_us": 40,
    "analogue_gain": 2.0,
    "seed": 3,
    "motion": MOTION,
}
SERVICE: dict[str, Any] = {
    "service": {
        "state": "state",
        "socket": "control.sock",
        "restore_memory_mb": 600,
        "restore_timeout_s": 60,
        "attempts": 2,
        "prometheus": "stillpi.prom",
    },
    "shutter": {
        "kind": "gpio",
        "pin": 5,
        "pull_up": False,
        "debounce_ms": 20,
        "long_press_s": 1.5,
        "bracket_stops": 2,
    },
    "led": {"kind": "gpio", "pin": 6},
    "delivery": {
        "bundle": True,
        "push": {
            "host": "photos.example.org",
            "port": 2222,
            "user": "camera",
            "key": "push_key",
            "known_hosts": "known_hosts",
            "folder": "incoming",
        },
    },
    "retention": {"keep_days": 30, "free_mb": 900, "floor_mb": 200},
}
REST: dict[str, Any] = {
    "calibration": "camera.yaml",
    "imu_axes": "yXZ",
    "output": {"folder": "photos", "format": "png", "quality": 90, "bundle_format": "png"},
    "restoration": {"model": "none", "threads": 2},
    **SERVICE,
}
WHOLE: list[dict[str, Any]] = [
    {"camera": PICAMERA, "imu": {"kind": "serial", "port": "/dev/imu", "baud": 230400}, **REST},
    {"camera": PICAMERA, "imu": {"kind": "i2c", "bus": 1, "address": 0x50}, **REST},
    {"camera": TWIN, "imu": {"kind": "emulator", "seed": 4}, **REST},
    {"camera": {"kind": "replay", "folder": "bundles"}, "imu": {"kind": "none"}, **REST},
]


def paths(data: object, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of a document."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield (*at, key)
            yield from paths(value, (*at, key))


def changed(data: dict[str, Any], at: tuple[str, ...], value: object) -> dict[str, Any]:
    """A copy with another value at one key."""
    data = copy.deepcopy(data)
    inner = data
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return data


def removed(data: dict[str, Any], at: tuple[str, ...]) -> dict[str, Any]:
    data = copy.deepcopy(data)
    inner = data
    for key in at[:-1]:
        inner = inner[key]
    del inner[at[-1]]
    return data


# Every key once, in a document no longer than it takes: a camera, a sensor, or one other thing.
SHORT = [{"camera": whole["camera"], "imu": whole["imu"]} for whole in WHOLE]
SHORT += [{**SHORT[-1], key: value} for key, value in REST.items()]
PLACES = [
    (i, at)
    for i, data in enumerate(SHORT)
    for at in paths(data)
    if i < len(WHOLE) or at[0] not in ("camera", "imu")
]
PLACE = st.sampled_from(PLACES)

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["auto", "none", "twin", "serial", "~", "~nobody/x", "1e400", "\x07", "XYZ"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A section and all those inside it."""
    yield model
    for info in model.model_fields.values():
        for inner in get_args(info.annotation) or (info.annotation,):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from sections(inner)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "stillpi.yaml"


def load_text(file: Path, text: str) -> Config:
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    return load_config(file)


def load(file: Path, data: object) -> Config:
    return load_text(file, yaml.safe_dump(data, sort_keys=False))


def broken(file: Path, data: object) -> tuple[InputError, ...]:
    """What is wrong with a document; nothing else than a ConfigError may be."""
    try:
        load(file, data)
    except ConfigError as error:
        return error.problems
    return ()


def problems_of(file: Path, data: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, data)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("data", WHOLE, ids=["serial", "i2c", "emulator", "none"])
def test_every_key_is_taken(file: Path, data: dict[str, Any]) -> None:
    config = load(file, data)
    back = config.model_dump(mode="json", exclude_unset=True)
    assert sorted(paths(back)) == sorted(paths(data))


def given_in(section: BaseModel) -> set[tuple[str, str]]:
    """The keys a document gives, each with its section."""
    keys = {(type(section).__name__, key) for key in section.model_fields_set}
    inner = (getattr(section, key) for key in section.model_fields_set)
    return keys.union(*(given_in(value) for value in inner if isinstance(value, BaseModel)))


def test_every_key_of_every_section_is_in_these_tests(file: Path) -> None:
    keys = {(section.__name__, key) for section in sections(Config) for key in section.model_fields}
    assert keys == set().union(*(given_in(load(file, data)) for data in WHOLE))


def test_every_key_explains_itself() -> None:
    seen = set()
    for section in sections(Config):
        seen.add(section.__name__)
        for key, info in section.model_fields.items():
            if section is Config and key in ("camera", "imu"):
                continue
            assert key == "kind" or info.description, f"{section.__name__}.{key}"
    assert {"Config", "PicameraConfig", "EmulatorConfig", "PushConfig"} <= seen


@settings(max_examples=300, deadline=None)
@given(place=PLACE, value=ANYTHING)
def test_any_value_at_any_key_is_taken_or_named(
    file: Path, place: tuple[int, tuple[str, ...]], value: object
) -> None:
    data, at = SHORT[place[0]], place[1]
    problems = broken(file, changed(data, at, value))
    assert names_key(problems, at), problems


WRONG = [None, [], {}, {"x": 1}, [None, None], True, -1, 10**30, math.nan, math.inf, "", "no\x07"]


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_values_no_key_takes(file: Path, value: object) -> None:
    for i, at in PLACES:
        if not is_right(at, value):
            problems = broken(file, changed(SHORT[i], at, value))
            assert problems, at
            assert names_key(problems, at), (at, problems)


def is_right(at: tuple[str, ...], value: object) -> bool:
    """Null where a key or a section may be left out, an empty section where nothing is needed."""
    sections = {"output", "restoration", *SERVICE}
    if value is None:
        return at[-1] in sections | OPTIONAL
    if value == {}:
        return at[-1] in sections | {"motion"}
    return value is True and at[-1] in {"rotate_180", "pull_up", "bundle"}


OPTIONAL = {
    "sensor_mode",
    "size",
    "lens_position",
    "lens_focal_mm",
    "line_time_us",
    "tuning_file",
    "scene",
    "calibration",
    "threads",
    "prometheus",
    "push",
    "keep_days",
}


def test_a_misspelt_key_is_named_with_the_nearest(file: Path) -> None:
    for i, at in PLACES:
        wrong = (*at[:-1], at[-1] + "x")
        problems = broken(file, changed(SHORT[i], wrong, 1))
        (problem,) = [p for p in problems if p.field == ".".join(wrong)]
        assert problem.expected.startswith(f"{at[-1]}? (known: ")


@pytest.mark.parametrize("at", [("camera",), ("imu",), ("camera", "kind"), ("imu", "kind")])
def test_a_key_that_must_be_there(file: Path, at: tuple[str, ...]) -> None:
    (line,) = problems_of(file, removed(WHOLE[0], at))
    assert f" {'.'.join(at)}: found nothing, expected " in line


def names_key(problems: Iterable[InputError], at: tuple[str, ...]) -> bool:
    """Whether every problem is about this key, one inside it, or one it does not go with."""
    name = ".".join(at)
    related = {
        ("camera",): ["imu.kind"],
        ("camera", "kind"): ["imu.kind", "camera"],
        ("imu", "kind"): ["imu"],
        ("camera", "motion", "kind"): ["camera.motion.file"],
        ("camera", "max_exposure_s"): ["camera.exposure_s"],
        ("camera", "max_analogue_gain"): ["camera.analogue_gain"],
        ("shutter", "pin"): ["led.pin"],
        ("imu", "bus"): ["shutter.pin", "led.pin"],
        ("imu", "port"): ["shutter.pin", "led.pin"],
        ("retention",): ["retention.floor_mb"],
        ("retention", "free_mb"): ["retention.floor_mb"],
    }
    allowed = [name, *related.get(at, [])]
    return all(
        problem.field in allowed or problem.field.startswith(tuple(f"{a}." for a in allowed))
        for problem in problems
    )


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60) | st.text(alphabet="{}[]:-&*!?|>%@ \n\t'\"ab0#,", max_size=60))
def test_any_text_is_refused_with_a_line(file: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(file, text)
    for line in str(caught.value).splitlines():
        assert re.match(rf"{re.escape(str(file))}(:\d+)?: .+: found .+, expected .+", line), line


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 10**6), junk=st.text(max_size=6), drop=st.integers(0, 10))
def test_the_example_damaged_anywhere(file: Path, place: int, junk: str, drop: int) -> None:
    text = EXAMPLE.read_text()
    place %= len(text)
    with contextlib.suppress(ConfigError):
        load_text(file, text[:place] + junk + text[place + drop :])


# What the key `kind` hides when it is wrong: nobody knows then which keys are right.
CHOICES = (("camera", "kind"), ("imu", "kind"))


@st.composite
def mistakes(draw: st.DrawFn) -> tuple[dict[str, Any], dict[tuple[str, ...], bool], object]:
    """A document with mistakes; where they are, and whether the key is misspelt there."""
    data = draw(st.sampled_from(WHOLE))
    wrong: dict[tuple[str, ...], bool] = {}
    places = st.sampled_from(list(paths(data)))
    for at in draw(st.lists(places, min_size=1, max_size=8, unique=True)):
        hidden = [other[:-1] if other in CHOICES else other for other in wrong]
        hides = at[:-1] if at in CHOICES else at
        if any(at[: len(other)] == other for other in hidden):
            continue
        if any(other[: len(hides)] == hides for other in wrong):
            continue
        wrong[at] = at not in CHOICES and draw(st.booleans())
    return data, wrong, draw(st.sampled_from([-1, "no\x07", [None, None], 10**30, math.inf]))


def spoilt(data: dict[str, Any], wrong: dict[tuple[str, ...], bool], value: object) -> Any:
    """The document with its mistakes."""

    def spoil(inner: object, at: tuple[str, ...]) -> object:
        if wrong.get(at) is False:
            return value
        if not isinstance(inner, dict):
            return inner
        return {
            key + "x" * wrong.get((*at, key), False): spoil(part, (*at, key))
            for key, part in inner.items()
        }

    return spoil(data, ())


def lines_of(text: str) -> dict[str, int]:
    """The line of every key, as YAML's own parser has it."""
    lines: dict[str, int] = {}

    def walk(node: yaml.Node, at: tuple[str, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                lines[".".join((*at, key.value))] = key.start_mark.line + 1
                walk(value, (*at, key.value))

    walk(yaml.compose(text), ())
    return lines


def allowed(data: dict[str, Any], at: tuple[str, ...]) -> str:
    """What the schema says of a key."""
    model: type[BaseModel] = Config
    for depth, key in enumerate(at[:-1]):
        info = model.model_fields[key]
        kind = data[at[0]].get("kind") if depth == 0 else None
        models = [m for m in get_args(info.annotation) or (info.annotation,) if m is not type(None)]
        model = next(
            m for m in models
            if len(models) == 1 or get_args(m.model_fields["kind"].annotation) == (kind,)
        )  # fmt: skip
    return str(model.model_fields[at[-1]].description)


@settings(max_examples=200, deadline=None)
@given(mistakes())
def test_all_mistakes_are_named_at_once_each_with_line_key_and_what_is_allowed(
    file: Path, case: tuple[dict[str, Any], dict[tuple[str, ...], bool], object]
) -> None:
    data, wrong, value = case
    text = yaml.safe_dump(spoilt(data, wrong, value), sort_keys=False)
    with pytest.raises(ConfigError) as caught:
        load_text(file, text)
    problems, lines = {problem.field: problem for problem in caught.value.problems}, lines_of(text)
    for at, misspelt in wrong.items():
        problem = problems.pop(".".join(at) + "x" * misspelt)
        assert problem.file == f"{file}:{lines[problem.field]}"
        assert re.fullmatch(r".+: .+: found .+, expected .+", str(problem))
        if misspelt:
            assert problem.expected.startswith(f"{at[-1]}? (known: ")
        elif at in CHOICES:
            assert problem.expected.startswith("one of ")
        else:
            assert problem.expected == allowed(data, at)
    # Nothing else is wrong, but what the misspelt keys should have given.
    assert set(problems) <= {".".join(at) for at, misspelt in wrong.items() if misspelt}


def test_every_mistake_is_reported_with_its_line(file: Path) -> None:
    text = (
        "camera:\n  kind: picamera2\n  nmber: 3\n  exposure_s: fast\n\n"
        "imu:\n  kind: serail\noutput:\n  quality: 500\n  quality: 90\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_text(file, text)
    assert [str(problem).removeprefix(str(file)) for problem in caught.value.problems] == [
        ":3: camera.nmber: found 3, expected number? (known: " + ", ".join(PICAMERA_KEYS) + ")",
        ":4: camera.exposure_s: found 'fast', expected seconds, 0.00001 to 10, or auto",
        ":7: imu.kind: found 'serail', expected one of emulator, i2c, none, serial",
        ":10: output.quality: found the key a second time, expected each key once",
    ]


PICAMERA_KEYS = list(PicameraConfig.model_fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", r":1: syntax: found mapping values are not allowed here"),
        ("&a [*a]", r":1: syntax: found endless nesting"),
        ("[" * 5000, r":1: syntax: "),
        ("camera: !!python/object:os.system {}\nimu: {kind: none}", r"camera"),
        ("camera: !!int x\nimu: {kind: none}", r":1: camera: found 'x', expected a value of type"),
        ("camera: {kind: twin}\nimu: {kind: none}\n? [1]\n: 2", r":3: \?: found a list"),
        ("", r":1: the document: found null, expected a section"),
        ("camera: {kind: twin}\nimu: {kind: none}\n2020-01-01: x", r":3: 2020-01-01: found 'x'"),
        ("\ncamera: \x01", r":2: syntax: found the character 1, expected printable"),
        ("---\ncamera: {}\n---\nimu: {}", r":3: syntax: found .*document"),
    ],
)
def test_yaml_that_is_no_configuration(file: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_text(file, text)


def test_ten_of_ten_of_ten_are_not_expanded(file: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="endless nesting"):
        load_text(file, "\n".join(lines))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: file: found nothing, expected a config"):
        load_config(tmp_path / "none.yaml")


def test_a_file_that_is_not_text(file: Path) -> None:
    file.write_bytes(b"camera: \xff\xfe")
    with pytest.raises(ConfigError, match="found byte 0xff at offset 8, expected UTF-8"):
        load_config(file)


def test_values_that_contradict_each_other(file: Path) -> None:
    data = {"camera": {"kind": "picamera2", "exposure_s": 0.2}, "imu": {"kind": "emulator"}}
    lines = problems_of(file, data)
    assert len(lines) == 2
    assert "camera.exposure_s: found 0.2, expected at most camera.max_exposure_s, 0.1" in lines[0]
    assert "imu.kind: found 'emulator', expected serial, i2c or none" in lines[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"led": {"kind": "gpio", "pin": 17}}, "led.pin: found 17, expected a pin that shutter"),
        ({"imu": {"kind": "i2c"}, "led": {"kind": "gpio", "pin": 3}}, "that imu (I2C bus 1) does"),
        ({"imu": {"kind": "i2c"}, "led": {"kind": "gpio", "pin": 14}}, None),
        (
            {"imu": {"kind": "serial", "port": "/dev/serial0"}, "led": {"kind": "gpio", "pin": 15}},
            "led.pin: found 15, expected a pin that imu (/dev/serial0) does not use",
        ),
        ({"led": {"kind": "none", "pin": 17}}, None),
        (
            {"retention": {"free_mb": 100}},
            "retention.floor_mb: found 500, expected at most retention.free_mb, 100",
        ),
    ],
)
def test_pins_and_limits_that_do_not_go_together(
    file: Path, changes: dict[str, Any], message: str | None
) -> None:
    data = {
        "camera": {"kind": "picamera2"},
        "imu": {"kind": "none"},
        "shutter": {"kind": "gpio"},
    } | changes
    if message is None:
        assert load(file, data)
    else:
        (line,) = problems_of(file, data)
        assert message in line


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("host", "-oProxyCommand=x"),
        ("host", "two words"),
        ("user", "-l"),
        ("user", "a b"),
        ("folder", "-x"),
        ("folder", 'in"coming'),
        ("folder", "in*"),
        ("folder", "a\nb"),
    ],
)
def test_what_a_servers_name_may_not_smuggle_in(file: Path, key: str, value: str) -> None:
    """These words reach ssh's command line and sftp's batch."""
    (line,) = problems_of(file, changed(WHOLE[0], ("delivery", "push", key), value))
    assert f"delivery.push.{key}: found " in line


@pytest.mark.parametrize("host", ["pi.local", "192.168.1.7", "fe80::1", "::1", "my-nas"])
def test_hosts(file: Path, host: str) -> None:
    config = load(file, changed(WHOLE[0], ("delivery", "push", "host"), host))
    assert config.delivery.push is not None
    assert config.delivery.push.host == host


@pytest.mark.parametrize(
    "at", [("delivery", "push"), ("service", "prometheus"), ("retention", "keep_days")]
)
@pytest.mark.parametrize("value", ["none", None])
def test_none_in_words_is_none(file: Path, at: tuple[str, str], value: str | None) -> None:
    config = load(file, changed(WHOLE[0], at, value))
    assert getattr(getattr(config, at[0]), at[1]) is None


def test_a_push_without_its_host(file: Path) -> None:
    (line,) = problems_of(file, removed(WHOLE[0], ("delivery", "push", "host")))
    assert "delivery.push.host: found nothing, expected a host name or an address" in line


def test_a_socket_longer_than_the_kernel_takes(file: Path) -> None:
    (line,) = problems_of(file, changed(WHOLE[0], ("service", "socket"), "x" * 120))
    assert "service.socket: found " in line
    assert "at most 107 bytes" in line


@pytest.mark.parametrize("output", [None, {"quality": 80}])
def test_photographs_lie_with_the_state(file: Path, output: dict[str, int] | None) -> None:
    data = {"camera": {"kind": "twin"}, "imu": {"kind": "none"}, "service": {"state": "/srv/cam"}}
    if output:
        data["output"] = output
    config = load(file, data)
    assert config.output.folder == Path("/srv/cam/photos")
    assert config.output.quality == (output or {}).get("quality", 95)


@pytest.mark.parametrize("motion", [{"kind": "recording"}, {"kind": "still", "file": "x.txt"}])
def test_a_recording_needs_its_file(file: Path, motion: dict[str, str]) -> None:
    (line,) = problems_of(
        file, {"camera": {"kind": "twin", "motion": motion}, "imu": {"kind": "none"}}
    )
    assert "camera.motion.file: found " in line


def test_paths_start_at_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    config = load(
        file,
        {
            "camera": {"kind": "replay", "folder": "bundles"},
            "imu": {"kind": "none"},
            "calibration": "/etc/camera.yaml",
            "output": {"folder": "~/photos"},
        },
    )
    assert isinstance(config.camera, ReplayConfig)
    assert config.camera.folder == file.parent / "bundles"
    assert config.calibration == Path("/etc/camera.yaml")
    assert config.output.folder == Path("/home/somebody/photos")


def test_numbers_as_people_write_them(file: Path) -> None:
    config = load_text(
        file, "camera: {kind: picamera2, exposure_s: 5e-2, analogue_gain: 4}\nimu: {kind: none}"
    )
    assert isinstance(config.camera, PicameraConfig)
    assert config.camera.exposure_s == 0.05
    assert config.camera.analogue_gain == 4.0


@pytest.mark.parametrize("axes", ["XYZ", "yXZ", "xyZ", "YZX", "zyX", "ZyX"])
def test_axes(file: Path, axes: str) -> None:
    data = {"camera": {"kind": "twin"}, "imu": {"kind": "none"}, "imu_axes": axes}
    if np.linalg.det(rotation_from_axes(axes)) > 0:
        assert load(file, data).imu_axes == axes
    else:
        assert "imu_axes" in problems_of(file, data)[0]


def test_the_example_is_valid_as_it_stands() -> None:
    config = load_config(EXAMPLE)
    assert isinstance(config.camera, PicameraConfig)
    assert isinstance(config.imu, SerialConfig)
    assert config.output.folder == Path("/var/lib/stillpi/photos")


def test_the_example_uncommented_is_what_the_program_takes_by_itself() -> None:
    """Each `# key: value` of the service's sections shows the default."""
    lines = EXAMPLE.read_text().split("\nservice:\n")[1].split("# The simulated camera")[0]
    text = re.sub(r"^  #   (\w+:)", r"    \1", "service:\n" + lines, flags=re.MULTILINE)
    text = re.sub(r"^  # (\w+:)", r"  \1", text, flags=re.MULTILINE)
    text = text.replace("  push: none ", "  # push: none ")
    shown = yaml.safe_load(text)
    config = Config.model_validate(
        {"camera": {"kind": "picamera2"}, "imu": {"kind": "none"}, **shown}, context=Path("/")
    )
    plain = Config.model_validate({"camera": {"kind": "picamera2"}, "imu": {"kind": "none"}})
    for section in ("service", "shutter", "led", "retention"):
        assert set(shown[section]) == set(type(getattr(plain, section)).model_fields)
        expected = getattr(plain, section)
        if section in ("shutter", "led"):
            expected = expected.model_copy(update={"kind": "gpio"})
        assert getattr(config, section) == expected
    assert shown["delivery"]["bundle"] == plain.delivery.bundle
    push = config.delivery.push
    assert push is not None
    required = {key for key, info in type(push).model_fields.items() if info.is_required()}
    assert required == {"host", "user"}
    defaults = type(push)(host=push.host, user=push.user)
    assert push == defaults


def test_the_example_shows_every_key_and_its_default() -> None:
    """The commented lines are real: every key is there, and defaults are the program's."""
    text = EXAMPLE.read_text()
    for key in {at[-1] for _, at in PLACES}:
        assert re.search(rf"^[# ]*{key}:", text, re.MULTILINE), key
    assert "max_exposure_s: 0.1 " in text
    assert PicameraConfig(kind="picamera2").max_exposure_s == 0.1


def test_the_machines_configuration_or_what_to_do(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_module, "DEFAULT_PATH", tmp_path / "stillpi.yaml")
    with pytest.raises(InputError, match=r"stillpi\.yaml: file: found nothing, .*--simulate"):
        default_config()
    (tmp_path / "stillpi.yaml").write_text(EXAMPLE.read_text())
    assert default_config() == load_config(EXAMPLE)


def test_simulation_needs_no_file() -> None:
    config = simulated_config()
    assert isinstance(config.camera, TwinConfig)
    assert isinstance(config.imu, EmulatorConfig)
