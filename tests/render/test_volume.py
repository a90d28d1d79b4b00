import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.render import blocks, composite, rays, samples, volume
from invertavatar_jax.settings import Renderer
from invertavatar_jax.types import Camera

SETTINGS = Renderer(neural_resolution=6, coarse_samples=6, fine_samples=5, chunk_rays=1000)

RENDER = jax.jit(volume.render, static_argnums=(0, 3), static_argnames="proposal")
RENDER_RAYS = jax.jit(volume.render_rays, static_argnums=(0, 3), static_argnames="proposal")


def decode(features, points):
    """A stand-in for the network: colours from features, density from both."""
    colour = jax.nn.sigmoid(features[..., :4])
    return colour, 3.0 * features[..., 4:5] + points[..., :1]


@pytest.fixture
def camera():
    pose = np.tile(np.diag([1.0, -1.0, -1.0, 1.0]), (2, 1, 1))
    pose[:, 2, 3] = 2.7
    pose[1, 0, 3] = 0.2
    k = np.tile(np.array([[4.2, 0, 0.5], [0, 4.2, 0.5], [0, 0, 1]]), (2, 1, 1))
    return Camera(jnp.asarray(pose, jnp.float32), jnp.asarray(k, jnp.float32))


@pytest.fixture
def planes():
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 8, 8, 5)) * 2, jnp.float32)


def test_an_image_has_these_shapes(planes, camera):
    out = jax.eval_shape(lambda *inputs: volume.render(decode, *inputs, SETTINGS), planes, camera)
    assert out.features.shape == (2, 6, 6, 4)
    assert out.depth.shape == out.weight_sum.shape == (2, 6, 6, 1)


@pytest.mark.parametrize("proposal", [False, True])
@pytest.mark.parametrize("chunk", [1, 14])
def test_the_size_of_chunks_changes_nothing(planes, camera, chunk, proposal):
    key = jax.random.key(3)
    chunked = dataclasses.replace(SETTINGS, chunk_rays=chunk)
    draw = lambda settings: RENDER(decode, planes, camera, settings, key=key, proposal=proposal)
    for whole, parts in zip(draw(SETTINGS), draw(chunked), strict=True):
        np.testing.assert_allclose(parts, whole, atol=2e-5)


def test_memory_is_bounded_by_the_budget(planes, camera, monkeypatch):
    """Four times the rays take little more scratch memory, and four times a chunk does not fit."""
    camera = jax.tree.map(lambda x: x[:1], camera)

    def temporary(side, budget):
        monkeypatch.setattr(volume, "CPU_CHUNK_BYTES", budget)
        settings = dataclasses.replace(
            SETTINGS, neural_resolution=side, coarse_samples=16, fine_samples=16, chunk_rays=10**6
        )
        draw = jax.jit(lambda planes, camera: volume.render(decode, planes, camera, settings))
        compiled = draw.lower(planes[:1], camera).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    budget = 8 * 2**20  # 683 rays of 16 samples, for 64 hidden units
    few, many, whole = temporary(32, budget), temporary(64, budget), temporary(64, 16 * budget)
    assert many < 1.6 * few
    assert whole > 2 * many


def test_chosen_pixels_equal_those_of_the_image(planes, camera):
    image = RENDER(decode, planes, camera, SETTINGS)
    pixels = jnp.array([[0, 35, 7], [13, 5, 30]])
    some = jax.jit(volume.render_pixels, static_argnums=(0, 3))(
        decode, planes, camera, SETTINGS, pixels
    )
    for whole, part in zip(image, some, strict=True):
        whole = whole.reshape(2, 36, -1)
        expected = jnp.take_along_axis(whole, pixels[..., None], 1)
        np.testing.assert_allclose(part, expected, atol=2e-5)


def test_without_a_key_two_images_are_equal_and_with_two_keys_they_differ(planes, camera):
    draw = lambda key: RENDER(decode, planes, camera, SETTINGS, key=key).features
    np.testing.assert_array_equal(draw(None), draw(None))
    assert np.abs(draw(jax.random.key(0)) - draw(jax.random.key(1))).max() > 1e-3


def test_fine_samples_can_stay_even_while_depths_are_jittered():
    draws = volume.draw(jax.random.key(0), (2, 3), SETTINGS, even_fine=True)
    even = volume.even_draws(2, 3, SETTINGS)
    np.testing.assert_array_equal(draws.fine, even.fine)
    assert 0 <= draws.jitter.min() < draws.jitter.max() < 1
    np.testing.assert_array_equal(
        draws.jitter, volume.draw(jax.random.key(0), (2, 3), SETTINGS).jitter
    )


def test_merged_samples_equal_sorted_ones(planes, camera):
    """The released order of work: sort colours, densities and depths, then integrate."""
    cast = rays.cast_rays(camera, 6)
    limits = rays.ray_limits(camera, SETTINGS.near, SETTINGS.far)
    field = volume.plane_field(decode, planes, SETTINGS.box_warp)
    draws = volume.draw(jax.random.key(0), (2, 36), SETTINGS)
    out = jax.jit(lambda draws: volume.render_rays(field, cast, limits, SETTINGS, draws))(draws)

    @jax.jit
    def evaluate(depth):
        points = cast.origins[:, :, None] + depth[..., None] * cast.directions[:, :, None]
        colour, density = field(points.reshape(2, -1, 3))
        return colour.reshape(*depth.shape, -1), density.reshape(depth.shape)

    coarse = samples.stratified(*limits, 6, draws.jitter)
    colour, density = evaluate(coarse)
    fine = samples.importance(coarse, composite.interval_weights(density, coarse), draws.fine)
    more_colour, more_density = evaluate(fine)
    depth = np.concatenate([coarse, fine], -1)
    order = np.argsort(depth, -1)
    take = lambda x, y: np.take_along_axis(np.concatenate([x, y], 2), order, 2)
    depth = take(coarse, fine)
    weights = np.asarray(composite.interval_weights(take(density, more_density), depth))
    both = np.concatenate([colour, more_colour], 2)
    both = np.take_along_axis(both, order[..., None], 2)
    expected = 2 * (weights[..., None] * (both[:, :, 1:] + both[:, :, :-1]) / 2).sum(2) - 1
    np.testing.assert_allclose(out.features, expected, atol=1e-5)
    np.testing.assert_allclose(out.weight_sum[..., 0], weights.sum(-1), atol=1e-5)


@pytest.mark.parametrize("proposal", [False, True])
def test_even_fog_has_the_opacity_of_its_length(camera, proposal):
    fog = lambda points: (jnp.ones((*points.shape[:2], 2)), jnp.full((*points.shape[:2], 1), 2.0))
    cast = rays.cast_rays(camera, 3)
    settings = dataclasses.replace(SETTINGS, neural_resolution=3)
    limits = (jnp.float32(2.0), jnp.float32(3.0))
    out = RENDER_RAYS(fog, cast, limits, settings, proposal=proposal)
    # released samples reach from the first to the last, proposal's from the first interval's
    # middle to that of the last but one
    length = 1.0 if not proposal else 1.0 - 0.5 / 5 - 1.5 / 5
    opacity = 1 - np.exp(-np.logaddexp(1.0, 0.0) * length)
    np.testing.assert_allclose(out.weight_sum, opacity, atol=2e-5)
    np.testing.assert_allclose(out.features, 2 * opacity - 1, atol=4e-5)


def test_an_empty_volume_renders_black_at_the_far_end_with_finite_gradients(planes, camera):
    @jax.jit
    def empty(shift):
        nothing = lambda f, p: (jax.nn.sigmoid(f[..., :4]), f[..., 4:] * 0 + shift)
        return volume.render(nothing, planes, camera, SETTINGS)

    out = empty(-1e4)
    assert np.all(np.asarray(out.features) == -1) and not np.any(out.weight_sum)
    _, far = rays.ray_limits(camera, SETTINGS.near, SETTINGS.far)
    np.testing.assert_allclose(out.depth, far, rtol=1e-6)
    total = lambda shift: sum(x.sum() for x in empty(shift))
    assert np.isfinite(jax.grad(total)(-1e4))


@pytest.mark.parametrize("proposal", [False, True])
def test_gradients_equal_differences(planes, camera, proposal):
    """With the fine samples held in place, which is what the gradient assumes."""
    settings = dataclasses.replace(SETTINGS, neural_resolution=3, chunk_rays=6)
    weight = np.random.default_rng(1).normal(size=(2, 3, 3, 4))

    @jax.jit
    def total(scale):
        scaled = lambda f, p: (jax.nn.sigmoid(scale * f[..., :4]), f[..., 4:] * 3)
        out = volume.render(scaled, planes, camera, settings, proposal=proposal)
        return (out.features * weight).sum()

    step = 1e-2
    slope = (total(1 + step) - total(1 - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(total)(1.0), slope, rtol=2e-2, atol=1e-3)


def test_a_proposal_gets_no_gradient(camera):
    """A field that knows which of the two passes asks: coarse samples are evenly spaced."""
    cast = rays.cast_rays(camera, 2)
    limits = (jnp.float32(2.0), jnp.float32(3.0))
    settings = dataclasses.replace(SETTINGS, coarse_samples=6, fine_samples=4)

    def total(scale, proposal):
        def field(points):
            coarse = points.shape[1] == 4 * 6
            density = jnp.sin(5 * points[..., 2:]) * (scale if coarse else 1.0)
            return points * (scale if coarse else 1.0), density

        out = volume.render_rays(field, cast, limits, settings, proposal=proposal)
        return out.features.sum()

    slope = jax.jit(jax.grad(total), static_argnums=1)
    assert slope(1.0, True) == 0.0
    assert slope(1.0, False) != 0.0


@pytest.mark.parametrize("count", [10, 2 * blocks.SMALLEST, 2 * blocks.LARGEST, 8209])
def test_blocks_of_points_equal_one_call(count):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(count, 3)), jnp.float32)
    weight = jnp.arange(6.0).reshape(3, 2) / 5

    def function(x):
        return jnp.tanh(x @ weight), x.sum(-1, keepdims=True)

    for got, expected in zip(blocks.map_points(function, x), function(x), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_blocks_of_points_have_the_gradient_of_one_call():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2 * blocks.LARGEST, 3)), jnp.float32)
    apply = lambda x, weight: jnp.tanh(x @ weight)
    in_blocks = lambda x, weight: blocks.map_points(lambda x: apply(x, weight), x)
    weight = jnp.arange(6.0).reshape(3, 2) / 5
    loss = lambda f: lambda *args: (f(*args) ** 2).mean()
    ours, plain = (jax.grad(loss(f), (0, 1))(x, weight) for f in (in_blocks, apply))
    for got, expected in zip(ours, plain, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)
