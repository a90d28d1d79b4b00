"""Next3D as a whole, at its tiny size: what moves the picture, and what trains."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import next3d, prior, settings
from invertavatar_jax.convert.names import export_weights
from invertavatar_jax.fit.flame import Topology
from invertavatar_jax.types import Camera
from tests.encode.weights import draw

MODEL = settings.prior("next3d_tiny")
NETS, PRIOR = next3d.build(MODEL), prior.build(MODEL)


def sphere(radius=0.08, rows=9, columns=12):
    """A ball of FLAME's size whose (u, v) are longitude and latitude, and its vertices."""
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    around, height = 2 * np.pi * (u - 0.5), np.pi * (v - 0.5)
    point = [np.sin(around) * np.cos(height), np.sin(height), np.cos(around) * np.cos(height)]
    n = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = n[:-1, :-1], n[:-1, 1:], n[1:, 1:], n[1:, :-1]
    triangles = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    uv = np.stack([u, v], -1).reshape(-1, 2).astype(np.float32)
    vertices = radius * np.stack(point, -1).reshape(-1, 3)
    mask = np.ones((16, 16, 1), np.float32)
    return Topology(triangles, uv, triangles, mask), vertices.astype(np.float32)


def driven(open_by=0.0) -> next3d.Drive:
    mesh, vertices = sphere()
    landmarks = np.zeros((2, 68, 3), np.float32)
    landmarks[:, 48:60, 0] = np.linspace(-0.04, 0.04, 12)
    landmarks[:, 48:60, 1] = np.linspace(0, -0.02 - open_by, 12)
    pose = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
    pose[2, 3] = 2.7
    matrix = np.array([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]], np.float32)
    camera = Camera(*(jnp.broadcast_to(x, (2, *x.shape)) for x in (pose, matrix)))
    stretched = vertices * np.float32([1, 1 + 2 * open_by, 1])
    return next3d.drive(MODEL, mesh, camera, np.stack([vertices, stretched]), landmarks)


@pytest.fixture(scope="module")
def weights():
    return draw(PRIOR.init, equalised=True)


@pytest.fixture(scope="module")
def w_plus():
    drawn = np.random.default_rng(1).standard_normal((2, PRIOR.w_count, MODEL.w_dim), np.float32)
    return jnp.asarray(drawn)


@pytest.fixture(scope="module")
def step(weights):
    """One compiled function: loss and picture, and the gradient of the loss."""

    def loss(params, w_plus, drive, key):
        whole = {"params": params, "buffers": weights["buffers"]}
        out = PRIOR.render(whole, w_plus, PRIOR.features(whole, w_plus), drive, key=key)
        return jnp.mean(out.image**2) + jnp.mean(out.raw**2), out

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return functools.partial(run, weights["params"]), run


@pytest.fixture(scope="module")
def first(step, w_plus):
    (_, out), gradient = step[0](w_plus, driven(), jax.random.key(0))
    return out, gradient


def test_a_picture_has_its_shape_and_finite_numbers(first):
    out, _ = first
    assert out.image.shape == (2, 32, 32, 3)
    assert out.raw.shape == (2, 8, 8, 3) and out.depth.shape == (2, 8, 8, 1)
    assert out.planes.shape == (2, 3, 32, 32, 8)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(out))


def test_the_gradient_reaches_every_weight_but_those_that_nothing_reads(first):
    named = export_weights({"params": first[1], "buffers": {}})
    assert all(np.isfinite(gradient).all() for gradient in named.values())
    still = {name for name, gradient in named.items() if not np.any(gradient)}
    unread = (
        *(f"{name}.mapping." for name in ("texture_backbone", "mouth_backbone", "backbone")),
        "neural_blending.mapping.",
        "mouth_backbone.synthesis.b4.",
        "mouth_backbone.synthesis.fusion.2.",
        *(f"neural_blending.synthesis.b{side}." for side in (4, 8)),
        "neural_blending.synthesis.fusion.2.",
    )
    silent = lambda name: name.startswith("superresolution") and name.endswith("noise_strength")
    assert still == {name for name in named if name.startswith(unread) or silent(name)}


def test_the_mesh_moves_the_picture_without_compiling_again(first, step, w_plus):
    (_, moved), _ = step[0](w_plus, driven(open_by=0.03), jax.random.key(0))
    assert np.abs(moved.image - first[0].image).max() > 1e-3
    assert step[1]._cache_size() == 1


def test_randomness_follows_its_key(first, step, w_plus):
    (_, same), _ = step[0](w_plus, driven(), jax.random.key(0))
    (_, other), _ = step[0](w_plus, driven(), jax.random.key(1))
    np.testing.assert_array_equal(same.image, first[0].image)
    assert np.abs(other.raw - first[0].raw).max() > 1e-5


def test_truncation_with_a_cutoff_leaves_the_texture_half(weights):
    z, label = jnp.ones((1, MODEL.z_dim)), jnp.ones((1, MODEL.c_dim))
    cutoff = MODEL.backbone.w_count
    plain = np.asarray(PRIOR.map(weights, z, label))
    cut = np.asarray(PRIOR.map(weights, z, label, truncation=0.7, cutoff=cutoff))
    np.testing.assert_array_equal(cut[:, cutoff:], plain[:, cutoff:])
    assert np.abs(cut[:, :cutoff] - plain[:, :cutoff]).min() > 0


def test_views_may_be_laid_on_the_planes_they_look_at():
    mesh, vertices = sphere()
    landmarks = np.zeros((1, 68, 3), np.float32)
    aligned = settings.Next3D(backbone=MODEL.backbone, view_planes="aligned")
    camera = jax.tree.map(lambda x: x[:1], driven().camera)
    raster = next3d.drive(aligned, mesh, camera, vertices[None], landmarks).raster
    released = next3d.drive(MODEL, mesh, camera, vertices[None], landmarks).raster
    np.testing.assert_array_equal(raster[:, :3], released[:, :3])
    assert np.any(raster[:, 3] != released[:, 3])


def test_vertices_without_landmarks_are_refused():
    mesh, vertices = sphere()
    with pytest.raises(ValueError, match="130 vertices and no landmarks"):
        next3d.drive(MODEL, mesh, driven().camera, vertices[None])


def test_half_of_w_plus_is_refused():
    with pytest.raises(ValueError, match="got 8 layers, expected 16"):
        next3d.halves(MODEL, jnp.zeros((1, 8, 16)))
