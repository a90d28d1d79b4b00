"""Writes shards of synthetic people; see invertavatar_jax/data/synthetic/files.py for the format.

Run: python -m tfds_builders.synthetic_heads --identities 1000 --frames 8 --seed 0 --out DIR
A clip depends on the seed and its identity number alone. Shards that are there are kept, so
an interrupted run goes on where it stopped.
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from invertavatar_jax.data.synthetic.files import shard_path, write_shard
from invertavatar_jax.data.synthetic.scene import open_studio, sample_scene


def main() -> None:
    """Parses the command line and writes."""
    parser = argparse.ArgumentParser(prog="python -m tfds_builders.synthetic_heads")
    parser.add_argument("--identities", type=int, required=True)
    parser.add_argument("--frames", type=int, default=8, help="per identity")
    parser.add_argument("--size", type=int, default=256, help="pixels on a side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="identity number to start with")
    parser.add_argument("--shard", type=int, default=50, help="identities in a file")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
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
                clips.append(sample_scene(rng, studio, options.frames))
                bar.update()
            write_shard(options.out, options.seed, numbers, clips)


if __name__ == "__main__":
    main()
