"""StyleUNet: what it reads, what it ignores, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.generate.style_unet import StyleUNet
from invertavatar_jax.layers import Noise
from invertavatar_jax.pure import pure
from invertavatar_jax.settings import Backbone, UNetSizes
from tests.encode.weights import draw

NETWORK = pure(StyleUNet(Backbone(32, 128, 8), UNetSizes(16, 8), image_channels=3))
IMAGE, W_PLUS = jnp.linspace(-1, 1, 2 * 16 * 16 * 4).reshape(2, 16, 16, 4), jnp.ones((2, 8, 6))
WEIGHTS = draw(NETWORK.init, IMAGE, W_PLUS, equalised=True)
RUN = jax.jit(NETWORK.apply)


@pytest.fixture(scope="module")
def image():
    return np.asarray(RUN(WEIGHTS, IMAGE, W_PLUS))


def test_the_output_has_the_resolution_of_the_backbone(image):
    assert image.shape == (2, 32, 32, 3)


def test_parts_that_no_image_passes_exist_and_change_nothing(image):
    unread = ("b4", "b8", "fusion_1")  # blocks up to 8 pixels; fusion at 16
    spoilt = {
        kind: {
            name: jax.tree.map(lambda x: x * np.nan, tree) if name in unread else tree
            for name, tree in WEIGHTS[kind].items()
        }
        for kind in WEIGHTS
    }
    np.testing.assert_array_equal(RUN(spoilt, IMAGE, W_PLUS), image)


def test_styles_below_the_first_block_are_not_read(image):
    first = 3  # of b16: b4 has one and b8 two before it
    np.testing.assert_array_equal(RUN(WEIGHTS, IMAGE, W_PLUS.at[:, :first].set(jnp.nan)), image)
    assert not np.isfinite(RUN(WEIGHTS, IMAGE, W_PLUS.at[:, first].set(jnp.nan))).any()


def test_each_sample_is_drawn_by_itself(image):
    changed = np.asarray(RUN(WEIGHTS, IMAGE.at[1].set(0.5), W_PLUS))
    np.testing.assert_allclose(changed[0], image[0], atol=1e-5)
    assert np.abs(changed[1] - image[1]).max() > 1e-2


def test_random_noise_follows_its_key():
    one, two = (Noise("random", jax.random.key(i)) for i in (1, 2))
    first = RUN(WEIGHTS, IMAGE, W_PLUS, one)
    np.testing.assert_array_equal(RUN(WEIGHTS, IMAGE, W_PLUS, one), first)
    assert np.abs(RUN(WEIGHTS, IMAGE, W_PLUS, two) - first).max() > 1e-4


@pytest.mark.parametrize(
    ("side", "layers", "expected"),
    [(8, 8, "8 x 8 pixels and 8 layers"), (16, 10, "16 x 16 pixels and 10 layers")],
)
def test_wrong_sizes_are_refused(side, layers, expected):
    with pytest.raises(ValueError, match=expected):
        NETWORK.apply(WEIGHTS, jnp.zeros((2, side, side, 4)), jnp.zeros((2, layers, 6)))
