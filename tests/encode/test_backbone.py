import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.encode import backbone
from invertavatar_jax.pure import pure
from invertavatar_jax.settings import Trunk
from tests.encode.weights import draw


class Alone(nn.Module):
    sizes: Trunk
    batch_statistics: bool = False

    @nn.compact
    def __call__(self, x):
        return backbone.trunk_levels(self.sizes, x, batch_statistics=self.batch_statistics)


def test_folding_moves_each_patch_into_one_pixel():
    x = jax.random.normal(jax.random.key(0), (2, 6, 4, 3))
    folded = backbone.fold_pixels(x, 2)
    assert folded.shape == (2, 3, 2, 12)
    np.testing.assert_array_equal(folded[1, 2, 1].reshape(2, 2, 3), x[1, 4:6, 2:4])


def test_an_image_that_patches_do_not_cover_is_refused():
    with pytest.raises(ValueError, match="6 x 5, expected multiples of the patch 2"):
        backbone.fold_pixels(jnp.zeros((1, 6, 5, 3)), 2)


@pytest.mark.parametrize("patch", [1, 2])
def test_every_stage_halves_the_resolution(patch):
    sizes = Trunk(channels=(4, 8, 12), units=(1, 2, 2), patch=patch)
    x = jnp.zeros((1, 16 * patch, 16 * patch, 3))
    trunk = pure(Alone(sizes))
    levels = jax.eval_shape(lambda key, x: trunk.apply(trunk.init(key, x), x), jax.random.key(0), x)
    shapes = [stage.shape for stage in levels.stages]
    assert shapes == [(1, 8, 8, 4), (1, 4, 4, 8), (1, 2, 2, 12)]
    assert levels.entry.shape == shapes[-1]


def test_the_entry_is_what_the_units_after_it_read():
    sizes = Trunk(channels=(4, 8), units=(1, 2))
    x = jax.random.normal(jax.random.key(1), (1, 8, 8, 3))
    trunk = pure(Alone(sizes))
    weights = draw(trunk.init, x)
    levels = jax.jit(trunk.apply)(weights, x)
    last = {collection: tree["body_2"] for collection, tree in weights.items()}
    unit = backbone.BottleneckIRSE(8)
    np.testing.assert_allclose(
        unit.apply(last, levels.entry), levels.stages[-1], rtol=1e-5, atol=1e-6
    )


def test_with_batch_statistics_the_stored_ones_are_not_read():
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    sizes = Trunk(channels=(4, 8), units=(1, 1))
    weights = draw(pure(Alone(sizes)).init, x)
    spoiled = weights | {"buffers": jax.tree.map(lambda leaf: leaf + 1, weights["buffers"])}
    for batch_statistics, same in ((True, True), (False, False)):
        trunk = pure(Alone(sizes, batch_statistics))
        before, after = (jax.jit(trunk.apply)(w, x).stages[-1] for w in (weights, spoiled))
        assert np.array_equal(before, after) == same
