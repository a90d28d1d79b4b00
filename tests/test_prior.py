"""Both priors behind one interface, by shapes alone."""

import jax
import jax.numpy as jnp
import pytest

from invertavatar_jax import next3d, prior, settings
from invertavatar_jax.types import Camera, Drive

CAMERA = Camera(jnp.zeros((2, 4, 4)), jnp.zeros((2, 3, 3)))
DRIVES = {
    "tiny": Drive(
        CAMERA, jnp.zeros((2, 20, 20, 3)), jnp.zeros((2, 32, 32, 4)), jnp.zeros((2, 32, 32, 3))
    ),
    "next3d_tiny": next3d.Drive(CAMERA, jnp.zeros((2, 4, 32, 32, 3)), jnp.zeros((2, 4), jnp.int32)),
}


@pytest.mark.parametrize("name", DRIVES)
def test_a_picture_is_made_by_the_same_calls(name):
    sizes = settings.prior(name)
    source = prior.build(sizes)

    def picture(key, z, label, drive):
        weights = source.init(key)
        w_plus = source.map(weights, z, label, truncation=0.7)
        maps = source.features(weights, w_plus)
        return w_plus, source.render(weights, w_plus, maps, drive, key=key)

    label = jnp.zeros((2, sizes.z_dim)), jnp.zeros((2, sizes.c_dim))
    w_plus, out = jax.eval_shape(picture, jax.random.key(0), *label, DRIVES[name])
    assert w_plus.shape == (2, source.w_count, sizes.w_dim)
    assert out.image.shape == (2, 32, 32, 3)
    assert out.planes.shape == (2, 3, 32, 32, sizes.plane_channels)


def test_an_unknown_prior_is_refused():
    with pytest.raises(ValueError, match=r"next4d.*expected.*next3d.*paper"):
        settings.prior("next4d")
