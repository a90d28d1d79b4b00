"""A process that ends with an avatar's first frame, for benchmarks to start.

Run: ./avatar python -m experiments.benchmarks.first_frame AVATAR

It does what `avatar animate` does until it has an image, and prints when each step was over:
{"import": T, "load": T, "first_frame": T, "cpu_s": S} with T in seconds since the epoch.
"""

import gc
import json
import sys
import time

from invertavatar_jax.cli import cache_folder, devices


def run(path: str) -> dict[str, float]:
    """Imports what the verb needs, loads model and avatar, and renders one frame."""
    gc.set_threshold(100_000, 50, 100)  # as the program does
    cache_folder.choose()
    devices.choose("cpu")
    import numpy as np

    from invertavatar_jax import avatar, motion
    from invertavatar_jax import film as films
    from invertavatar_jax.export import avatars
    from invertavatar_jax.fit import camera

    done = {"import": time.time()}
    model = avatar.load()
    person, details = avatars.read_avatar(path)
    done["load"] = time.time()
    front = camera.from_vector(np.asarray(details["camera"], np.float32))
    moves = motion.first(motion.built_in(model.head.expression_names, front), 1)
    for _ in films.film(model, person, moves):
        done["first_frame"] = time.time()
    return done | {"cpu_s": time.process_time()}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
