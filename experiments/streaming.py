"""Folds a thousand frames into one avatar and prints memory growth and compilations.

Run: ./avatar python experiments/streaming.py TRACK.npz [--frames 1000] [--weights FILE]

The frames of the track are repeated. Memory is the process's resident set; growth counts from
the 100th frame, when everything is compiled and the allocator has settled.
"""

import argparse
import itertools
import json
import resource
import time
from pathlib import Path

import jax
from tqdm import tqdm

from invertavatar_jax import avatar
from invertavatar_jax.export import tracks

WARM_UP_FRAMES = 100


def resident_mib() -> float:
    """Memory of this process that is in use now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def count_compilations() -> list[str]:
    """A list that grows by one entry for every program that XLA compiles."""
    seen: list[str] = []

    def listen(event: str, duration: float, **facts: object) -> None:
        if event.endswith("backend_compile_duration"):
            seen.append(str(facts.get("fun_name", event)))

    jax.monitoring.register_event_duration_secs_listener(listen)
    return seen


def main() -> None:
    """Streams and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("track", help="written by `./avatar fit`")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--weights", help="weights of the networks (those of the package)")
    args = parser.parse_args()
    compiled = count_compilations()
    model = avatar.load(args.weights)
    endless = itertools.cycle(avatar.observations(tracks.read_track(args.track)))
    stream, memory, settled, begin = None, 0.0, 0, 0.0
    for index in tqdm(range(args.frames), mininterval=5):
        stream = jax.block_until_ready(model.observe(stream, next(endless)))
        if index + 1 == min(WARM_UP_FRAMES, args.frames):
            memory, settled, begin = resident_mib(), len(compiled), time.perf_counter()
    measured = args.frames - WARM_UP_FRAMES
    result = {
        "frames": args.frames,
        "growth_mib": round(resident_mib() - memory, 2),
        "compilations": settled,
        "compilations_after_warm_up": len(compiled) - settled,
        "frames_per_second": round(measured / (time.perf_counter() - begin), 2),
        "device": jax.devices()[0].platform,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
