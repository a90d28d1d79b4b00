"""The bundled head model and its deformation."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.fit import morphable

ARKIT_SAMPLE = {"jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "tongueOut"}
ASSET = Path(morphable.__file__).parents[1] / "assets/head_makehuman.npz"


@pytest.fixture(scope="module")
def head():
    return morphable.load_head_model()


def own_points(head):
    return np.flatnonzero(head.weld == np.arange(len(head.weld)))


def mirror(head):
    """Each vertex's partner: same place and same texel after reflection."""
    at = np.c_[head.template, head.uv]
    reflected = np.c_[head.template * [-1, 1, 1], np.abs([1, 0] - head.uv)]
    return np.array([np.abs(reflected - row).sum(-1).argmin() for row in at])


def test_identity_components_are_orthogonal_and_ordered_by_strength(head):
    basis = head.identity[:, own_points(head)].reshape(len(head.identity), -1).astype(np.float64)
    gram = basis @ basis.T
    length = np.sqrt(np.diag(gram))
    cosine = gram / np.outer(length, length) - np.eye(len(gram))
    assert len(basis) >= 40
    assert np.abs(cosine).max() < 0.02
    assert (np.diff(length) < 1e-4 * length[0]).all()


def test_unit_coefficients_give_people_of_plausible_spread(head):
    """Adults' faces differ by a few millimetres rms; one world unit is 0.4 m."""
    face = head.identity[:, head.face_mask > 0]
    rms_mm = 400.0 * np.sqrt(np.square(face).sum((0, 2)).mean())
    assert 2.0 < rms_mm < 12.0


def test_expressions_have_the_52_arkit_names(head):
    names = set(head.expression_names)
    assert len(head.expression_names) == len(names) == 52 == len(head.expression)
    assert names > ARKIT_SAMPLE
    assert all(np.abs(delta).max() > 1e-3 for delta in head.expression)


def test_template_layout_and_masks_are_symmetric(head):
    partner = mirror(head)
    used = np.unique(head.triangles)
    np.testing.assert_allclose(head.template[partner] * [-1, 1, 1], head.template, atol=1e-4)
    reflected = head.uv[partner] * [-1, 1] + [1, 0]
    np.testing.assert_allclose(reflected[used], head.uv[used], atol=2e-5)
    np.testing.assert_array_equal(head.face_mask[partner], head.face_mask)
    assert set(partner[head.eye_left]) == set(head.eye_right)


def test_components_are_symmetric_or_antisymmetric(head):
    reflected = head.identity[:, mirror(head)] * np.array([-1, 1, 1], np.float32)
    even = np.abs(reflected - head.identity).max((1, 2))
    odd = np.abs(reflected + head.identity).max((1, 2))
    assert np.minimum(even, odd).max() < 1e-3
    assert (even < odd).sum() > 40


def test_no_two_triangles_share_a_texel(head):
    size, count = 512, np.zeros((512, 512), int)
    for corner in head.uv[head.triangles].astype(np.float64) * size - 0.5:
        low, high = np.ceil(corner.min(0)).astype(int), np.floor(corner.max(0)).astype(int)
        x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
        sides = [
            (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
            for a, b in zip(corner, np.roll(corner, -1, 0), strict=True)
        ]
        winding = np.sign(np.linalg.det(corner[1:] - corner[0]))
        inside = np.all([side * winding > 1e-3 for side in sides], 0)
        count[y[inside], x[inside]] += 1
    assert count.max() == 1
    assert (count == 1).mean() > 0.6


def test_gaze_moves_only_the_eyeballs_and_keeps_their_shape(head):
    identity = jax.random.normal(jax.random.key(0), (len(head.identity),))
    still = np.asarray(morphable.vertices(head, identity, jnp.zeros(52), jnp.zeros(4)))
    gaze = jnp.array([0.4, -0.2, 0.1, 0.3])
    moved = np.asarray(morphable.vertices(head, identity, jnp.zeros(52), gaze))
    eyes = np.r_[head.eye_left, head.eye_right]
    np.testing.assert_array_equal(np.delete(moved, eyes, 0), np.delete(still, eyes, 0))
    spans = lambda points: np.linalg.norm(points[:, None] - points[None], axis=-1)
    for eye in (head.eye_left, head.eye_right):
        np.testing.assert_allclose(spans(moved[eye]), spans(still[eye]), atol=1e-6)
        assert np.abs(moved[eye] - still[eye]).max() > 5e-3


def test_positive_yaw_looks_to_the_heads_left_and_positive_pitch_up(head):
    zero = jnp.zeros(len(head.identity))
    look = lambda gaze: morphable.vertices(head, zero, jnp.zeros(52), jnp.array(gaze))
    still, left, up = (look(g) for g in ([0.0] * 4, [0.3, 0, 0, 0], [0, 0.3, 0, 0]))
    front = head.eye_left[np.argmax(head.template[head.eye_left, 2])]
    assert left[front, 0] > still[front, 0] + 0.01 / 4
    assert up[front, 1] > still[front, 1] + 0.01 / 4


def test_batches_equal_single_heads(head):
    identity = jax.random.normal(jax.random.key(1), (2, 3, 10))
    expression = jax.random.uniform(jax.random.key(2), (2, 3, 52))
    gaze = 0.1 * jnp.ones((2, 3, 4))
    batch = morphable.vertices(head, identity, expression, gaze)
    single = morphable.vertices(head, identity[1, 2], expression[1, 2], gaze[1, 2])
    np.testing.assert_allclose(batch[1, 2], single, atol=1e-6)
    assert morphable.normals(head, batch).shape == (2, 3, len(head.template), 3)


def test_normals_are_unit_closed_at_seams_and_point_outwards(head):
    normals = np.asarray(morphable.normals(head, jnp.asarray(head.template)))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(normals, normals[head.weld])
    nose = np.argmax(head.template[:, 2])
    assert normals[nose, 2] > 0.8


def test_gradients_are_finite_even_for_a_collapsed_mesh(head):
    def brightness(coefficients, squash):
        v = morphable.vertices(head, coefficients, 0.1 * jnp.ones(52), jnp.zeros(4))
        return morphable.normals(head, v * squash)[..., 2].sum()

    for squash in (1.0, 0.0):
        gradient = jax.grad(brightness)(jnp.zeros(8), squash)
        assert np.isfinite(gradient).all()


def test_landmarks_lie_on_the_skin(head):
    points = np.einsum("lk,lkc->lc", head.landmark_weights, head.template[head.landmark_vertices])
    assert len(points) > 300
    np.testing.assert_allclose(head.landmark_weights.sum(-1), 1.0, atol=1e-5)
    assert points[:, 2].min() > 0.0
    by_number = dict(zip(head.landmark_index.tolist(), points, strict=True))
    assert by_number[10][1] > by_number[1][1] > by_number[152][1]  # forehead, nose, chin
    assert by_number[291][0] > 0 > by_number[61][0]  # mouth corners: the head's left is +x


def test_bundled_file_is_small():
    assert ASSET.stat().st_size < 1.5e6


def test_a_wrong_file_is_named_in_the_error(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(1))
    with pytest.raises(ValueError, match=r"x\.npz is no head model: it lacks"):
        morphable.load_head_model(tmp_path / "x.npz")
