"""The supervised stage folds a drawn number of frames as users' frames are folded."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import inversion, networks, settings
from invertavatar_jax.compile import abstract
from invertavatar_jax.train.stages import supervised
from tests.encode.weights import draw

FRAMES = 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_paper", "tiny_paper_att_fusion"])
def test_a_number_of_frames_up_to_all_of_them_is_folded(name):
    model = settings.preset(name)
    nets, weights = networks.build(model), draw(lambda key: networks.init(model, key))
    rng = np.random.default_rng(0)
    some = lambda x: jnp.asarray(rng.uniform(-1, 1, x.shape), jnp.float32)
    frames = jax.tree.map(some, abstract.frame(model, (FRAMES, 1)))
    pose = jnp.diag(jnp.array([1.0, -1.0, -1.0, 1.0])).at[2, 3].set(2.7)
    intrinsics = jnp.array([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]])
    spread = lambda x: jnp.broadcast_to(x, (FRAMES, 1, *x.shape))
    camera = frames.drive.camera._replace(
        world_from_camera=spread(pose), intrinsics=spread(intrinsics)
    )
    frames = frames._replace(drive=frames.drive._replace(camera=camera))

    @jax.jit
    def fold(key):
        first = jax.tree.map(lambda x: x[0], frames)
        memory = inversion.start(nets, weights, model, first)
        seen = inversion.render_coarse(nets, weights, model, memory, first).image
        memory = supervised._fold_some(nets, weights, model, memory, frames, seen, key)
        return inversion.finish(nets, weights, model, memory)

    def whole(count):
        part = jax.tree.map(lambda x: x[:count], frames)
        return inversion.reconstruct(nets, weights, model, part)[1]

    expected = [jax.jit(whole, static_argnums=0)(n) for n in range(1, FRAMES + 1)]
    away = lambda a, b: max(
        float(jnp.abs(x - y).max())
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )
    assert min(away(a, b) for a, b in itertools.pairwise(expected)) > 1e-2
    counts = set()
    for seed in range(8):
        found = [away(fold(jax.random.key(seed)), one) for one in expected]
        assert min(found) < 1e-4
        counts.add(int(np.argmin(found)))
    assert counts == set(range(FRAMES))
