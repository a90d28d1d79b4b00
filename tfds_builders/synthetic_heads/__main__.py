"""Writes synthetic people: as shards, or as frame records for training.

Run: python -m tfds_builders.synthetic_heads --identities 1000 --frames 8 --seed 0 --out DIR
or   python -m tfds_builders.synthetic_heads --records --preset tiny --identities 24 --out DIR
A clip depends on the seed and its identity number alone. Shards (format: see
invertavatar_jax/data/synthetic/files.py) that are there are kept, so an interrupted run goes on
where it stopped; records are written whole or not at all.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from invertavatar_jax.data.synthetic.files import shard_path, write_shard
from invertavatar_jax.data.synthetic.scene import open_studio, sample_scene
from invertavatar_jax.errors import USER_ERROR


def main() -> int:
    """Parses the command line, writes, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tfds_builders.synthetic_heads")
    parser.add_argument("--identities", type=int, required=True)
    parser.add_argument("--frames", type=int, default=8, help="per identity")
    parser.add_argument(
        "--every", type=int, default=1, help="frames between unrelated moments, of shards (1)"
    )
    parser.add_argument("--size", type=int, default=256, help="pixels on a side, of shards")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="identity number to start with")
    parser.add_argument("--shard", type=int, default=50, help="identities in a file")
    parser.add_argument("--records", action="store_true", help="frame records in place of shards")
    parser.add_argument("--preset", default="tiny", help="sizes of the records")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.records:
        return write_records(options, parser.prog)
    write_shards(options)
    return 0


def write_records(options: argparse.Namespace, program: str) -> int:
    """Builds a data set of frame records and returns the exit code."""
    from tfds_builders import command, frame_records  # shards need no tfds
    from tfds_builders.synthetic_heads.synthetic_heads_dataset_builder import Builder, Config

    if options.preset not in frame_records.PRESETS:
        known = ", ".join(frame_records.PRESETS)
        print(f"{program}: got preset {options.preset!r}, expected one of {known}", file=sys.stderr)
        return USER_ERROR
    last = options.first + options.identities
    config = Config(
        name=f"{options.preset}_{options.first}_to_{last}_x{options.frames}_seed{options.seed}",
        identities=options.identities,
        frames=options.frames,
        seed=options.seed,
        first=options.first,
        preset=options.preset,
    )
    make = lambda: Builder(config=config, data_dir=options.out, file_format="array_record")
    return command.run(program, lambda: command.build(make()))


def write_shards(options: argparse.Namespace) -> None:
    """Writes the shards that are not there yet."""
    studio = open_studio(size=options.size)
    last = options.first + options.identities
    with tqdm(total=options.identities, unit="person") as bar:
        for first in range(options.first, last, options.shard):
            numbers = range(first, min(first + options.shard, last))
            if shard_path(options.out, first).exists():
                bar.update(len(numbers))
                continue
            clips = []
            for number in numbers:
                rng = np.random.default_rng([options.seed, number])
                clips.append(sample_scene(rng, studio, options.frames, every=options.every))
                bar.update()
            write_shard(options.out, options.seed, numbers, clips)


if __name__ == "__main__":
    sys.exit(main())
