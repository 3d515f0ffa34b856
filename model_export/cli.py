"""The command line `stillpi-export`: networks to model bundles, are they sound, and to the Pi."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from device.commands.restoring import one_line, positive_int
from device.errors import InputError, StillpiError
from device.restore.golden import self_test
from device.restore.network import MANIFEST, ModelBundle, verified_manifest
from model_export.send import DEFAULT_FOLDER, Pi, roll_back, send_bundle

EXIT_BAD_INPUT = 2
_PARTS = {
    "training": "; `data` lists data sets, each with name and licence",
    "licence": "",
    "metrics": "; `command` is what made them",
}
"""Of a manifest, what people want to know and how it is given."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 for an expected error, on one line."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (StillpiError, OSError) as error:
        print(f"stillpi-export: {one_line(error)}", file=sys.stderr)
        return EXIT_BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stillpi-export",
        description="Turn a network into the model bundle that stillpi runs; check and send it.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_build(commands)
    _add_verify(commands)
    _add_send(commands)
    _add_rollback(commands)
    return parser


def _add_build(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "build",
        help="checkpoint or ONNX file to model bundle",
        description="Write a model bundle: the network with its hash, tensors and tile, loaded "
        "back as a device does before it gets its name.",
    )
    parser.add_argument("network", type=Path, metavar="CHECKPOINT|MODEL.onnx")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--name", required=True, help="what reports call the model")
    of_checkpoint = parser.add_argument_group("of a checkpoint")
    of_checkpoint.add_argument(
        "--precision",
        choices=("float32", "U8S8", "S8S8"),
        default="U8S8",
        help="int8 as x86 (U8S8) or Arm (S8S8) runs it best (default: %(default)s)",
    )
    of_checkpoint.add_argument(
        "--with-float32",
        action="store_true",
        help="keep the float32 network beside the int8 one: a device runs the faster of the two",
    )
    of_checkpoint.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="what the ranges of int8 are calibrated on and the golden tile is cut from",
    )
    of_checkpoint.add_argument("--motion", type=Path, metavar="DIR", help="likewise")
    of_onnx = parser.add_argument_group("of an ONNX file, all needed")
    of_onnx.add_argument("--tile", type=int, metavar="PX", help="pixels a side of its tiles")
    of_onnx.add_argument(
        "--halo", type=int, metavar="PX", help="pixels at a tile's edge whose result is not used"
    )
    for part, more in _PARTS.items():
        parser.add_argument(
            f"--{part}",
            type=Path,
            metavar="FILE.json",
            help=f"a JSON object kept as its {part}{more}",
        )
    parser.set_defaults(run=_run_build)


def _run_build(arguments: argparse.Namespace) -> int:
    model = _of_checkpoint(arguments) if arguments.network.is_dir() else _of_onnx(arguments)
    print(f"{arguments.output}: {model.manifest.name} sha256 {model.manifest.model.sha256}")
    return 0


def _of_checkpoint(arguments: argparse.Namespace) -> ModelBundle:
    # Imported here: only this needs torch.
    from model_export.checkpoint_bundle import build_from_checkpoint

    return build_from_checkpoint(
        arguments.network,
        arguments.output,
        precision=arguments.precision,
        with_float32=arguments.with_float32,
        photos=arguments.photos,
        motion=arguments.motion,
        **_about(arguments),
    )


def _of_onnx(arguments: argparse.Namespace) -> ModelBundle:
    # Imported here: `verify` runs where onnx is not installed.
    from model_export.bundle import write_bundle

    for option in ("tile", "halo"):
        if getattr(arguments, option) is None:
            raise InputError(arguments.network, f"--{option}", "nothing", "a number of pixels")
    return write_bundle(
        arguments.output,
        arguments.network,
        tile_size=arguments.tile,
        halo=arguments.halo,
        **_about(arguments),
    )


def _about(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a manifest says of any network, as the bundle's writers take it."""
    parts = {part: _json_object(getattr(arguments, part)) for part in _PARTS}
    return {"name": arguments.name, **parts}


def _json_object(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(path, "JSON", error, "a JSON object") from error
    if not isinstance(content, dict):
        raise InputError(path, "JSON", type(content).__name__, "a JSON object")
    return content


def _add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "verify",
        help="is this model bundle whole, and can this program run it?",
        description="Check a model bundle as a device does: hashes, tensors, encoding, and its "
        "golden tile in a process of its own. Prints OK, the hash and the largest difference, or "
        "what does not fit; a warning for what a bundle that is passed on should tell.",
    )
    parser.add_argument("bundle", type=Path, metavar="FOLDER")
    parser.set_defaults(run=_run_verify)


def _run_verify(arguments: argparse.Namespace) -> int:
    test = self_test(arguments.bundle)
    manifest = verified_manifest(arguments.bundle)
    print(f"OK {manifest.name} sha256 {manifest.model.sha256}, {test}")
    told = json.loads((arguments.bundle / MANIFEST).read_text(encoding="utf-8"))
    for part, key, expected in (
        ("training", "data", "the data sets with their licences"),
        ("licence", "weights", "the licence of the weights"),
        ("metrics", "command", "figures, and the command that made them"),
    ):
        if key not in told.get(part, {}):
            print(f"warning: {MANIFEST}: {part}.{key}: found nothing, expected {expected}")
    return 0


def _add_send(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "send",
        help="a model bundle to the Pi",
        description="Upload a model bundle over SSH, self-test it on the Pi with the stillpi there "
        "and make it FOLDER/current; the one before stays as FOLDER/previous. Whatever fails, the "
        "Pi goes on with what it had. The Pi's host key must be known, and a key must log in.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    _add_pi(parser)
    parser.set_defaults(run=_run_send)


def _add_rollback(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "rollback",
        help="the Pi's previous model again",
        description="Make FOLDER/previous on the Pi its current model, if it passes its self-test. "
        "Rolling back a second time undoes the first.",
    )
    _add_pi(parser)
    parser.set_defaults(run=_run_rollback)


def _add_pi(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="USER@PI", help="or a Host of your SSH configuration")
    parser.add_argument(
        "--folder",
        default=DEFAULT_FOLDER,
        help="of the models on the Pi, in the user's home unless it begins with / "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--stillpi", default="stillpi", metavar="PATH", help="the program on the Pi, where an SSH "
        "command does not find it by its name (such as an environment's bin/stillpi)",
    )  # fmt: skip
    parser.add_argument("--port", type=positive_int, help="of the Pi's SSH server")
    parser.add_argument("--identity", type=Path, metavar="FILE", help="the key to log in with")
    parser.add_argument(
        "--ssh-config", type=Path, metavar="FILE", help="instead of your SSH configuration"
    )


def _pi(arguments: argparse.Namespace) -> Pi:
    return Pi(
        arguments.target,
        folder=arguments.folder,
        stillpi=arguments.stillpi,
        port=arguments.port,
        identity=arguments.identity,
        ssh_config=arguments.ssh_config,
    )


def _run_send(arguments: argparse.Namespace) -> int:
    name, before = send_bundle(arguments.bundle, _pi(arguments))
    if name == before:
        print(f"{arguments.target}: {name} was and is the current model")
    else:
        current = f"{arguments.target}:{arguments.folder}/current"
        print(f"{current} is {name}" + (f", previous is {before}" if before else ""))
    return 0


def _run_rollback(arguments: argparse.Namespace) -> int:
    name = roll_back(_pi(arguments))
    print(f"{arguments.target}:{arguments.folder}/current is {name} again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
