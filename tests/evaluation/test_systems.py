"""Systems under test are what they say."""

import jax
import numpy as np
import pytest

from experiments.evaluation import footage, systems, views
from invertavatar_jax import inversion, networks

SIDE = 32


@pytest.fixture(scope="module")
def seen(shared):
    """Three frames of one person."""
    return footage.synthetic(shared[0], SIDE)[0].frames


@pytest.mark.slow  # it compiles all steps once more, as one program
def test_averages_are_those_of_the_package(shared, seen):
    _, workshop = shared
    model = workshop.model(None, "conv_fusion")
    bench = workshop.bench(model)
    nets, window = networks.build(model.sizes), 2
    frames = jax.tree.map(
        lambda *x: np.stack(x), *[one.frame for one in bench.prepared.frames(seen)]
    )
    whole = lambda weights, frames: inversion.reconstruct_windows(
        nets, weights, model.sizes, frames, window
    )
    memory, maps = jax.jit(whole)(model.weights, frames)
    system = systems.averaged(bench, window)
    for _ in range(2):  # the second time from what was kept
        avatar = system.reconstruct(seen)
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        jax.tree.map(close, avatar.maps, maps)
        jax.tree.map(close, avatar.colours, memory.colours)


@pytest.mark.parametrize("name", ["ours", "without_second_stage"])
def test_a_later_frame_tells_the_second_stage_alone(name, shared, seen):
    system = shared[1].system(name, None)
    images = system.render(system.reconstruct(seen[:2]), seen)
    assert images.shape == (3, SIDE, SIDE, 3) and np.abs(images).max() <= 1
    (alone,) = system.render(system.reconstruct(seen[:1]), seen[2:])
    same = np.abs(alone - images[2]).max() < 1e-6
    assert same == (name == "without_second_stage")


def test_random_heads_differ_by_person_alone(shared):
    system = shared[1].system("our_prior", None)
    one, other = (clip.frames for clip in footage.synthetic(shared[0], SIDE))
    w_plus = [system.reconstruct([x]).w_plus for x in (one[0], one[0], other[0])]
    np.testing.assert_array_equal(w_plus[0], w_plus[1])
    assert np.abs(w_plus[0] - w_plus[2]).max() > 1e-3 * np.abs(w_plus[0]).max()


def test_a_surface_is_bright_where_it_faces_the_camera():
    line = np.linspace(-1, 1, 8, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    flat, tilted = np.stack([x, y, 0 * x], -1), np.stack([x, y, -np.sqrt(3) * x], -1)
    far, alpha = np.float32([[0, 0, 1e4]]), np.ones((1, 8, 8, 1), np.float32)
    np.testing.assert_allclose(views.shade(flat[None], far, alpha), 1, atol=1e-3)
    np.testing.assert_allclose(views.shade(tilted[None], far, alpha), 0, atol=1e-3)  # cos 60 = 1/2
    np.testing.assert_array_equal(views.shade(tilted[None], far, 0 * alpha), 1)  # paper
