"""The self-test of models: in a child process, once, and what it protects from."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import shutil
from pathlib import Path

import pytest
from model_bundles import (
    crashing_network,
    endless_network,
    good_bundle,
    good_network,
    not_a_number_network,
    replace_file,
)

from device.errors import ModelError
from device.restore import golden
from device.restore.golden import NetworkTest, SelfTest, load_tested, self_test

X86_TRAPS = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="only x86 traps on this division"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good bundle; tests copy it or read it."""
    return good_bundle(tmp_path_factory.mktemp("models") / "good")


@pytest.fixture
def good(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "good"))


def notes(cache: Path) -> list[Path]:
    return sorted((cache / "stillpi" / "self-tests").glob("*"))


def no_child(*command: object, **options: object) -> None:
    raise AssertionError("a child process was started")


def test_a_good_bundle_is_tested_once(
    good: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_tested(good).manifest.name == "tiny"
    (note,) = notes(cache)
    assert json.loads(note.read_text()) == {"bundle": str(good), "runs": "model.onnx"}
    monkeypatch.setattr(golden.subprocess, "run", no_child)
    assert load_tested(good).running.file == "model.onnx"
    with pytest.raises(AssertionError, match="child"):
        self_test(good)


def test_what_would_change_the_result_is_tested_again(
    good: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    self_test(good)
    monkeypatch.setattr(golden.subprocess, "run", no_child)
    load_tested(good)
    with monkeypatch.context() as another:
        another.setattr(golden, "version", lambda name: "0.1")
        with pytest.raises(AssertionError, match="child"):
            load_tested(good)
    with monkeypatch.context() as another:
        another.setattr(golden.platform, "machine", lambda: "aarch64")
        with pytest.raises(AssertionError, match="child"):
            load_tested(good)
    manifest = good / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(AssertionError, match="child"):
        load_tested(good)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"runs": "other.onnx"}', '{"runs": [1]}'])
def test_a_damaged_note_is_no_note(good: Path, cache: Path, text: str) -> None:
    self_test(good)
    (note,) = notes(cache)
    note.write_text(text)
    manifest = golden.verified_manifest(good)
    assert golden._remembered(good, manifest) is None
    golden._remember(good, "model.onnx")
    assert golden._remembered(good, manifest) == "model.onnx"


def test_a_cache_that_cannot_be_written_is_no_error(good: Path, cache: Path) -> None:
    cache.write_text("in the way")
    assert load_tested(good).manifest.name == "tiny"
    assert cache.read_text() == "in the way"


def test_without_xdg_the_cache_is_the_homes(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for elsewhere in ("", "not/absolute"):
        monkeypatch.setenv("XDG_CACHE_HOME", elsewhere)
        monkeypatch.setenv("HOME", str(tmp_path))
        note = golden._note(good)
        assert note is not None
        assert note.parent == tmp_path / ".cache" / "stillpi" / "self-tests"


def failure(folder: Path, **options: float) -> str:
    with pytest.raises(ModelError) as caught:
        self_test(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_result_that_differs_is_refused_and_not_remembered(good: Path, cache: Path) -> None:
    replace_file(good, "model.onnx", good_network(0.5))
    message = failure(good)
    assert re.fullmatch(
        rf"{good}/model\.onnx: self-test: found a golden tile that differs by [\d.]+ of 255 codes, "
        "expected at most 1",
        message,
    )
    assert notes(cache) == []


def test_not_a_number_differs(good: Path, cache: Path) -> None:
    replace_file(good, "model.onnx", not_a_number_network())
    assert "differs by inf of 255 codes" in failure(good)


@X86_TRAPS
def test_a_crash_costs_the_child_and_names_its_signal(good: Path, cache: Path) -> None:
    replace_file(good, "model.onnx", crashing_network())
    assert failure(good) == (
        f"{good}: self-test: found a crash by SIGFPE, expected the golden tile's result"
    )
    assert notes(cache) == []


def test_a_network_that_never_ends_is_stopped(good: Path, cache: Path) -> None:
    replace_file(good, "model.onnx", endless_network())
    assert "found no result after 6 s" in failure(good, time_limit_s=6.0)


def test_a_machine_that_starts_no_child_is_one_line(
    good: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden.sys, "executable", str(tmp_path / "no python"))
    assert "self-test: found no child process, No such file or directory" in failure(good)


def test_the_childs_refusal_is_the_message(good: Path, cache: Path) -> None:
    replace_file(good, "golden.npz", b"no golden tile")
    assert failure(good).startswith(f"{good}/golden.npz: found ")


def test_a_bundle_whose_hash_is_wrong_is_never_run(
    good: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (good / "model.onnx").write_bytes(crashing_network())
    monkeypatch.setattr(golden.subprocess, "run", no_child)
    assert "model.onnx: sha256: found" in failure(good)


def test_a_folder_named_as_the_package_is_not_run(
    good: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / "__init__.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert self_test(good).best_file == "model.onnx"


# Alternatives


@pytest.mark.parametrize(
    ("seconds", "best"),
    [((1.0, 0.5), "b.onnx"), ((1.0, 0.9), "a.onnx"), ((1.0, 2.0), "a.onnx"), ((1.0,), "a.onnx")],
)
def test_an_alternative_runs_where_it_is_clearly_faster(
    seconds: tuple[float, ...], best: str
) -> None:
    files = ("a.onnx", "b.onnx")
    tests = [NetworkTest(file, 0.0, took) for file, took in zip(files, seconds, strict=False)]
    assert SelfTest(tuple(tests)).best_file == best


def test_both_networks_are_tested_and_the_note_says_which_runs(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = good_bundle(tmp_path / "two", float32=good_network(0.25))
    test = self_test(folder)
    assert [network.file for network in test.networks] == ["model.onnx", "model_fp32.onnx"]
    assert all(network.worst_codes < 0.1 for network in test.networks)
    slow_first = dataclasses.replace(test.networks[0], seconds=10 * test.networks[1].seconds)
    monkeypatch.setattr(golden, "_in_child", lambda *_: SelfTest((slow_first, test.networks[1])))
    self_test(folder)
    assert load_tested(folder).running.file == "model_fp32.onnx"
    assert load_tested(folder, fastest=False).running.file == "model.onnx"


def test_an_alternative_that_differs_is_refused_too(tmp_path: Path, cache: Path) -> None:
    folder = good_bundle(tmp_path / "two", float32=good_network(0.25))
    replace_file(folder, "model_fp32.onnx", good_network(0.5))
    assert failure(folder).startswith(f"{folder}/model_fp32.onnx: self-test: found")
