import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.supervise.blur import blur


def _loop(image: np.ndarray, sigma: float) -> np.ndarray:
    """Sums over all neighbours in float64; image [h, w]."""
    radius = int(np.floor(3 * sigma))
    offsets = np.arange(-radius, radius + 1)
    taps = np.exp2(-((offsets / sigma) ** 2))
    taps /= taps.sum()
    result = np.zeros(image.shape)
    for p, q in np.ndindex(*image.shape):
        for i, j in np.ndindex(len(taps), len(taps)):
            row, column = p + offsets[i], q + offsets[j]
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                result[p, q] += taps[i] * taps[j] * image[row, column]
    return result


@pytest.mark.parametrize("sigma", [0.4, 1.3, 4.0])
def test_neighbours_are_weighed_as_released(sigma):
    image = np.random.default_rng(0).standard_normal((9, 7)).astype(np.float32)
    got = blur(jnp.asarray(image)[None, :, :, None], jnp.float32(sigma))[0, :, :, 0]
    np.testing.assert_allclose(got, _loop(image.astype(np.float64), sigma), atol=2e-6)


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_no_blur_changes_no_bit(sigma):
    image = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    np.testing.assert_array_equal(blur(image, jnp.float32(sigma)), image)


def test_the_gradient_is_the_blur_s_transpose():
    image, other = jax.random.normal(jax.random.key(0), (2, 1, 6, 6, 2))
    pulled = jax.vjp(lambda x: blur(x, jnp.float32(1.5)), image)[1](other)[0]
    forward = (blur(image, jnp.float32(1.5)) * other).sum()
    np.testing.assert_allclose((image * pulled).sum(), forward, rtol=1e-5)
    np.testing.assert_allclose(pulled, blur(other, jnp.float32(1.5)), atol=1e-6)  # symmetric
