"""`stillpi-train pairs`: how many training pairs a second this machine makes."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from device.commands.restoring import positive_int
from host_training.pairs import Pair, PairOptions, PairSource

_SAMPLE = 64


class Rate(NamedTuple):
    """Of one process: seconds to fill the caches; pairs a second then, of time and of processor."""

    warm_s: float
    pairs_s: float
    pairs_cpu_s: float
    words: str = ""


def add_pairs_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to `stillpi-train`."""
    parser = commands.add_parser(
        "pairs",
        help="measure how many training pairs a second this machine makes",
        description="Fill the rolling set of rendered scenes, then draw pairs for a while.",
    )
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photographs")
    parser.add_argument("--motion", type=Path, required=True, help="folder of motion recordings")
    parser.add_argument("--seconds", type=float, default=20.0, help="(default %(default)s)")
    parser.add_argument("--crop", type=int, default=128, help="pixels a side (default %(default)s)")
    parser.add_argument(
        "--workers", type=positive_int, default=1, help="processes (default %(default)s)"
    )
    parser.add_argument(
        "--scenes",
        type=positive_int,
        default=PairOptions().scenes,
        help="rendered scenes, and measurements, held by each process (default %(default)s)",
    )
    parser.add_argument(
        "--shrink", type=positive_int, default=2, help="of photographs (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all chance (default %(default)s)")
    parser.set_defaults(run=run_pairs)


def run_pairs(args: argparse.Namespace) -> int:
    """Measure and print; returns the exit code."""
    options = PairOptions(
        crop_px=args.crop, scenes=args.scenes, measurements=args.scenes, shrink=args.shrink
    )
    begun_s = time.monotonic()
    source = PairSource.read(args.photos, args.motion, options, seed=args.seed)
    names = source.photo_names
    print(f"{len(names)} photographs decoded in {time.monotonic() - begun_s:.1f} s")
    results = _in_processes(source, args.workers, args.seconds)
    warm_s = max(rate.warm_s for rate in results)
    pairs_s = sum(rate.pairs_s for rate in results)
    pairs_cpu_s = sum(rate.pairs_cpu_s for rate in results) / len(results)
    print(f"{options.scenes} scenes rendered and measured in {warm_s:.1f} s, in each process")
    print(
        f"{pairs_s:.1f} pairs a second of {args.crop}x{args.crop} px with {args.workers} "
        f"process(es), {pairs_cpu_s:.1f} a second of processor time; a scene is measured "
        f"{options.measurements_per_scene} times, a measurement drawn "
        f"{options.draws_per_measurement} times"
    )
    print(next(rate.words for rate in results if rate.words))
    return 0


def _in_processes(source: PairSource, workers: int, seconds: float) -> list[Rate]:
    """The rate of every process; the first one also describes its pairs."""
    context = multiprocessing.get_context("fork")
    answers: SimpleQueue[Rate] = context.SimpleQueue()

    def work(stream: int) -> None:
        cv2.setNumThreads(0)
        with threadpool_limits(limits=1, user_api="blas"):
            own = source.of_stream(stream)
            rate = measure_rate(own, seconds)
            if stream == 0:
                rate = rate._replace(words=described([own.draw(i) for i in range(_SAMPLE)]))
            answers.put(rate)

    processes = [context.Process(target=work, args=(n,), daemon=True) for n in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a process that makes pairs failed; its traceback is above")
    return [answers.get() for _ in processes]


def measure_rate(source: PairSource, seconds: float) -> Rate:
    """How fast one stream is once its caches are full."""
    begun_s = time.monotonic()
    source.warm_up()
    warm_s = time.monotonic() - begun_s
    begun_s, begun_cpu_s, drawn = time.monotonic(), time.process_time(), 0
    while (taken_s := time.monotonic() - begun_s) < seconds or drawn == 0:
        source.draw(drawn)
        drawn += 1
    cpu_s = time.process_time() - begun_cpu_s
    return Rate(warm_s, drawn / max(taken_s, 1e-9), drawn / max(cpu_s, 1e-9))


def described(pairs: list[Pair]) -> str:
    """Quality and blur lengths of pairs, in a line."""

    def psnr_db(picture: str) -> float:
        errors = [np.mean((getattr(p, picture) - p.sharp) ** 2) for p in pairs]
        return float(np.mean([-10 * np.log10(max(e, 1e-10)) for e in errors]))

    low, middle, high = np.quantile([p.blur_px for p in pairs], (0.1, 0.5, 0.9))
    return (
        f"of {len(pairs)} pairs: blurred {psnr_db('blurred'):.2f} dB, filtered "
        f"{psnr_db('filtered'):.2f} dB; blur {middle:.1f} px (tenths {low:.1f} to {high:.1f})"
    )
