import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.render import triplane

HEIGHT, WIDTH, CHANNELS, BOX = 5, 6, 3, 0.8


def sample_by_loop(planes, points, axes=triplane.PLANE_AXES):
    """float64, one texel at a time."""
    batch, _, height, width, channels = planes.shape
    result = np.zeros((batch, points.shape[1], channels))
    for b, n, (plane, (across, down)) in (
        (b, n, item)
        for b in range(batch)
        for n in range(points.shape[1])
        for item in enumerate(axes)
    ):
        x = (points[b, n, across] * 2 / BOX + 1) * width / 2 - 0.5
        y = (points[b, n, down] * 2 / BOX + 1) * height / 2 - 0.5
        for i in (int(np.floor(y)), int(np.floor(y)) + 1):
            for j in (int(np.floor(x)), int(np.floor(x)) + 1):
                if 0 <= i < height and 0 <= j < width:
                    weight = (1 - abs(y - i)) * (1 - abs(x - j))
                    result[b, n] += weight * planes[b, plane, i, j] / 3
    return result


@pytest.fixture
def planes():
    shape = (2, 3, HEIGHT, WIDTH, CHANNELS)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.fixture
def points():
    """Inside the box, around its edge, far outside, and exactly on texels and edges."""
    generator = np.random.default_rng(1)
    inside = generator.uniform(-0.6 * BOX, 0.6 * BOX, (2, 40, 3))
    far = generator.uniform(-9, 9, (2, 5, 3))
    exact = np.array([[0.5, 0.5, 0.5], [-0.5, 0, 0.5], [0, 0, 0], [0.3, -0.5, 0.1]]) * BOX
    return np.concatenate([inside, far, np.stack([exact, -exact])], 1).astype(np.float32)


@pytest.mark.parametrize("axes", [triplane.PLANE_AXES, triplane.PLANE_AXES_FIXED])
def test_samples_equal_a_loop(planes, points, axes):
    got = triplane.sample_planes(planes, points, BOX, axes)
    np.testing.assert_allclose(got, sample_by_loop(planes, points, axes), atol=2e-6)


def test_square_planes_are_folded_and_equal_a_loop(planes, points):
    square = planes[..., :HEIGHT, :]
    folded, axes = triplane.fold_planes(jnp.asarray(square))
    assert folded.shape[1] == len(axes) == 2
    got = triplane.sample_planes(square, points, BOX)
    np.testing.assert_allclose(got, sample_by_loop(square, points), atol=2e-6)
    assert triplane.fold_planes(jnp.asarray(square), triplane.PLANE_AXES_FIXED)[0].shape[1] == 3


def test_planes_in_bfloat16_are_read_in_float32(planes, points):
    rounded = jnp.asarray(planes).astype(jnp.bfloat16)
    got = triplane.sample_planes(rounded, points, BOX)
    assert got.dtype == jnp.float32
    expected = triplane.sample_planes(rounded.astype(jnp.float32), points, BOX)
    np.testing.assert_array_equal(got, expected)


def test_each_plane_is_read_alone(planes, points):
    apart = triplane.sample_each_plane(planes, points, BOX)
    mean = triplane.sample_planes(planes, points, BOX)
    np.testing.assert_allclose(apart.mean(1), mean, atol=1e-6)
    only = np.zeros_like(planes)
    only[:, 1] = planes[:, 1]
    alone = triplane.sample_planes(only, points, BOX)
    np.testing.assert_allclose(apart[:, 1] / 3, alone, atol=1e-6)


def test_far_points_read_exactly_zero(planes):
    far = np.array([[[9.0, 9.0, 9.0], [-1e6, 1e6, -9.0]]] * 2, np.float32)
    assert not np.any(triplane.sample_planes(planes, far, BOX))


@pytest.mark.parametrize("count", [7, triplane.BLOCK + 3, 2 * triplane.BLOCK])
def test_gradient_of_planes_is_the_transpose_of_sampling(planes, count):
    """<sample(p), g> = <p, grad>; sampling is linear in the planes, so this is the gradient."""
    generator = np.random.default_rng(2)
    points = generator.uniform(-0.7 * BOX, 0.7 * BOX, (2, count, 3)).astype(np.float32)
    weight = generator.normal(size=(2, count, CHANNELS)).astype(np.float32)
    other = generator.normal(size=planes.shape).astype(np.float32)
    sample = jax.jit(lambda planes: triplane.sample_planes(planes, points, BOX))
    _, pullback = jax.vjp(sample, jnp.asarray(planes))
    grad = np.asarray(pullback(jnp.asarray(weight))[0], np.float64)
    forward = (np.asarray(sample(other), np.float64) * weight).sum()
    np.testing.assert_allclose((grad * other).sum(), forward, rtol=1e-4, atol=1e-3)


def test_gradient_of_points_equals_differences(planes):
    generator = np.random.default_rng(3)
    points = generator.uniform(-0.45 * BOX, 0.45 * BOX, (2, 30, 3))
    weight = generator.normal(size=(2, 30, CHANNELS))
    total = lambda points: (triplane.sample_planes(planes, points, BOX) * weight).sum()
    grad = jax.grad(total)(jnp.asarray(points, jnp.float32))
    step = 1e-6
    for axis in range(3):
        move = np.zeros(3)
        move[axis] = step
        change = sample_by_loop(planes, points + move) - sample_by_loop(planes, points - move)
        slope = (change * weight).sum(-1) / (2 * step)
        np.testing.assert_allclose(grad[..., axis], slope, atol=1e-3)
