"""Weights for tests, drawn without compiling an initialisation."""

import jax
import numpy as np


def draw(init, *inputs, seed=0, equalised=False):
    """Weights with the shapes of init(key, *inputs), none of them at a special value.

    Args:
        equalised: the layers scale weights of N(0, 1) themselves.
    """
    generator = np.random.default_rng(seed)

    def leaf(path, shape):
        noise = generator.standard_normal(shape.shape, np.float32)
        if len(shape.shape) > 1 and equalised:
            return noise
        if len(shape.shape) > 1:
            return noise / np.float32(np.sqrt(np.prod(shape.shape[:-1])))
        centre = 0 if path[-1].key in ("bias", "running_mean") else 1
        return np.float32(centre) + np.float32(0.1) * noise

    shapes = jax.eval_shape(init, jax.random.key(0), *inputs)
    return jax.tree_util.tree_map_with_path(leaf, shapes)
