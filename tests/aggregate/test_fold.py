import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.aggregate import fold

WIDTH = 3
OPTIONS = ({}, {"segment": 1}, {"segment": 7}, {"segment": 10_000})


@pytest.fixture(scope="module")
def scene():
    """A matrix, 67 frames (no square, and prime) of two arrays each, and a memory."""
    keys = jax.random.split(jax.random.key(0), 3)
    frames = {"x": jax.random.normal(keys[0], (67, WIDTH)), "gain": jnp.linspace(0.5, 1, 67)}
    return jax.random.normal(keys[1], (WIDTH, WIDTH)), frames, {"h": jnp.ones(WIDTH)}


def step(matrix, memory, frame):
    """Neither commutes nor forgets: every frame and its place count."""
    return {"h": jnp.tanh(memory["h"] @ matrix + frame["gain"] * frame["x"])}


def folded(matrix, frames, memory, **options):
    return fold.fold(step, matrix, memory, frames, **options)["h"]


@pytest.fixture(scope="module")
def plain(scene):
    """The last memory and the gradient of all inputs, by one loop that keeps everything."""
    return value_and_gradient(scene, remat=False)


def value_and_gradient(scene, **options):
    def loss(*inputs):
        end = folded(*inputs, **options)
        return (end**2).sum(), end

    (_, end), gradient = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(*scene)
    return end, gradient


@pytest.mark.parametrize("options", OPTIONS)
def test_segments_change_neither_a_bit_of_the_value_nor_the_gradient(scene, plain, options):
    end, gradient = value_and_gradient(scene, **options)
    np.testing.assert_array_equal(end, plain[0])
    np.testing.assert_array_equal(end, folded(*scene, **options))  # without a gradient
    for theirs, ours in zip(jax.tree.leaves(plain[1]), jax.tree.leaves(gradient), strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-6 * np.linalg.norm(theirs)


def test_a_gradient_has_a_gradient(scene):
    matrix, frames, memory = scene
    few = jax.tree.map(lambda x: x[:5], frames)

    def slope(matrix, **options):
        loss = lambda matrix: (folded(matrix, few, memory, **options) ** 2).sum()
        return (jax.grad(loss)(matrix) ** 2).sum()

    plain = jax.jit(jax.grad(lambda matrix: slope(matrix, remat=False)))(matrix)
    ours = jax.jit(jax.grad(lambda matrix: slope(matrix, segment=2)))(matrix)
    np.testing.assert_allclose(ours, plain, rtol=1e-4)


@pytest.mark.parametrize("count", [64, 67, 100, 128, 1024])
def test_a_segment_is_about_the_square_root_of_the_frames(count):
    length = fold.segment_length(count)
    assert count**0.5 / 2 <= length <= count**0.5
    if count != 67:
        assert count % length == 0


def test_few_frames_are_one_segment():
    assert fold.segment_length(fold.SEGMENTED_FROM - 1) == fold.SEGMENTED_FROM - 1


def test_a_segment_of_no_frames_is_refused(scene):
    with pytest.raises(ValueError, match="segments of 0 frames"):
        folded(*scene, segment=0)
