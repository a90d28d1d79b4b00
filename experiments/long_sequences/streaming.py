"""Folds thousands of frames into one avatar: memory growth and compilations.

Run: ./avatar python -m experiments.long_sequences.streaming TRACK.npz [--frames 1000]
     [--weights FILE]

The frames are repeated. Memory is the process's resident set; growth counts from the 100th
frame, when everything is compiled and the allocator has settled.
"""

import argparse
import itertools
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from matplotlib.axes import Axes
from tqdm import tqdm

from experiments.determinism.child import Child
from experiments.evaluation.line_up import draw_weights
from experiments.long_sequences.study import Part, Row, Study
from invertavatar_jax import avatar, settings
from invertavatar_jax.export import tracks

WARM_UP_FRAMES = 100
MOST_MIB = 16.0  # that the memory may grow by


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


def stream(
    model: avatar.Model, seen: Sequence[avatar.Observation], count: int
) -> list[dict[str, Any]]:
    """Observes `count` frames and tells, each time their number has doubled, what was used.

    Raises:
        ValueError: no frames are left after the first WARM_UP_FRAMES.
    """
    if count <= WARM_UP_FRAMES:
        raise ValueError(f"got {count} frames, expected more than {WARM_UP_FRAMES}")
    compiled, endless = count_compilations(), itertools.cycle(seen)
    state, rows, memory, settled, begin = None, [], 0.0, 0, 0.0
    for index in tqdm(range(1, count + 1), desc="stream", unit="frame", mininterval=5):
        state = jax.block_until_ready(model.observe(state, next(endless)))
        if index == WARM_UP_FRAMES:
            memory, settled, begin = resident_mib(), len(compiled), time.perf_counter()
        elif index == count or ((index / WARM_UP_FRAMES).is_integer() and _is_power(index)):
            measured = (index - WARM_UP_FRAMES) / (time.perf_counter() - begin)
            row = {"frames": index, "growth_mib": resident_mib() - memory}
            row |= {"compilations": settled, "compilations_later": len(compiled) - settled}
            rows.append(row | {"frames_per_second": measured})
    return rows


def _is_power(index: int) -> bool:
    return (index // WARM_UP_FRAMES).bit_count() == 1


def _stream_tiny(seen: Sequence[avatar.Observation], count: int) -> list[dict[str, Any]]:
    sizes = settings.preset("tiny")
    return stream(avatar.Model(sizes, draw_weights(sizes)), seen, count)


def run(study: Study) -> list[Row]:
    """The public `observe` of the preset `tiny`, in a process of its own.

    What grows with the number of frames does so at any size of the networks; the smallest one
    sees the most frames.
    """
    seen = [next(study.people()).observation(i) for i in range(2 * study.amounts.moments)]
    ended = Child(_stream_tiny, seen, study.amounts.streamed).join(3600)
    if ended.answer is None:
        raise RuntimeError(f"the stream ended with code {ended.code}:\n{ended.output}")
    return ended.answer


def answer(rows: Sequence[Row]) -> str:
    """The growth, and whether it is allowed."""
    last = rows[-1]
    kept = "within" if last["growth_mib"] <= MOST_MIB else "above"
    return (
        f"From frame {WARM_UP_FRAMES} to frame {last['frames']} the process grows by "
        f"{last['growth_mib']:.1f} MiB, {kept} the {MOST_MIB:.0f} MiB that are allowed, and "
        f"compiles {last['compilations_later']} programs."
    )


def draw(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Growth over the frames."""
    axes[0].plot([row["frames"] for row in rows], [row["growth_mib"] for row in rows], "o-")
    axes[0].axhline(MOST_MIB, color="tab:red", linestyle="--")
    axes[0].set(xlabel="frames", xscale="log")


PART = Part(
    "Does the memory of a stream grow? (`observe`, preset tiny)",
    run,
    answer,
    ("growth of the process since frame 100 (MiB)",),
    draw,
)


def main() -> None:
    """Streams a track and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("track", help="written by `./avatar fit`")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--weights", help="weights of the networks (those of the package)")
    args = parser.parse_args()
    seen = avatar.observations(tracks.read_track(args.track))
    rows = stream(avatar.load(args.weights), seen, args.frames)
    print(json.dumps({**rows[-1], "device": jax.devices()[0].platform}, indent=2))


if __name__ == "__main__":
    main()
