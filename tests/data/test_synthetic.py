"""Synthetic people: pictures and what is known of them agree."""

import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.data import shards
from invertavatar_jax.data.synthetic import files, hair, light, motion, obstacles, scene, wear
from invertavatar_jax.data.synthetic.anatomy import harmonics
from invertavatar_jax.data.synthetic.person import sample_person
from invertavatar_jax.fit import morphable
from invertavatar_jax.fit.head_layout import SLOTS
from invertavatar_jax.rasterize.api import interpolate, rasterize

SIZE, FRAMES = 64, 3


@pytest.fixture(scope="module")
def studio():
    return scene.open_studio(size=SIZE)


@pytest.fixture(scope="module")
def clip(studio):
    return scene.sample_scene(np.random.default_rng([7, 0]), studio, FRAMES)


def project(points, camera):
    pose, intrinsics = camera[:16].reshape(4, 4), camera[16:].reshape(3, 3)
    seen = (points - pose[:3, 3]) @ pose[:3, :3]
    plane = seen @ intrinsics.T
    return np.concatenate([plane[:, :2] / plane[:, 2:] * SIZE, seen[:, 2:]], -1).astype("f4")


def test_a_clip_has_the_stated_shapes(studio, clip):
    head = studio.anatomy.head
    assert clip.image.shape == (FRAMES, SIZE, SIZE, 3) and clip.image.dtype == np.uint8
    assert clip.matte.shape == clip.head_matte.shape == (FRAMES, SIZE, SIZE)
    assert clip.background.shape == (SIZE, SIZE, 3)
    assert clip.identity.shape == (len(head.identity),)
    assert clip.expression.shape == (FRAMES, len(head.expression_names))
    assert clip.gaze_rad.shape == (FRAMES, 4) and clip.camera.shape == (FRAMES, 25)
    assert 0 <= clip.expression.min() and clip.expression.max() <= 1


def test_a_clip_depends_on_its_numbers_alone(studio, clip):
    again = scene.sample_scene(np.random.default_rng([7, 0]), studio, FRAMES)
    for name in clip._fields:
        np.testing.assert_array_equal(getattr(again, name), getattr(clip, name), name)
    other = scene.sample_scene(np.random.default_rng([7, 1]), studio, 1)
    assert np.abs(other.image[0].astype(int) - clip.image[0]).mean() > 10


def test_the_mesh_of_the_coefficients_lies_on_the_picture(studio, clip):
    """Every pixel of the drawn face is a pixel of the head, in each frame."""
    head = studio.anatomy.head
    for frame in range(FRAMES):
        points = morphable.vertices(
            head, clip.identity, clip.expression[frame], clip.gaze_rad[frame]
        )
        pixels = project(np.asarray(points), clip.camera[frame])
        raster = rasterize(pixels, head.triangles, SIZE, SIZE, perspective=True)
        face = np.asarray(interpolate(head.face_mask[:, None], head.triangles, raster))[..., 0]
        assert (face > 0.99).mean() > 0.15
        assert (clip.head_matte[frame][face > 0.99] > 127).mean() > 0.97


def test_the_background_shows_where_the_person_is_not(clip):
    """Up to the blur and noise of the camera."""
    for image, matte in zip(clip.image, clip.matte, strict=True):
        away = matte == 0
        assert 0.02 < away.mean() < 0.8
        difference = np.abs(image.astype(int) - clip.background)[away]
        assert np.median(difference) <= 6
    assert (clip.head_matte <= clip.matte).all()


def test_the_iris_is_painted_around_the_direction_of_the_gaze(studio):
    """Texels go outwards from the slot's centre as the eyeball's points do from its axis."""
    head = studio.anatomy.head
    for eye, slot in ((head.eye_left, SLOTS["eye_l"]), (head.eye_right, SLOTS["eye_r"])):
        outwards = (head.template[eye] - head.template[eye].mean(0))[:, :2]
        texel = head.uv[eye] - 0.5 * (np.array(slot[:2]) + slot[2:])
        front = head.template[eye, 2] > head.template[eye, 2].mean()
        for axis in (0, 1):
            assert np.corrcoef(outwards[front, axis], texel[front, axis])[0, 1] > 0.95
        small = np.linalg.norm(outwards, axis=-1) < 0.008
        assert (np.linalg.norm(texel[front & small], axis=-1) < 0.03).all()


def test_harmonics_are_orthonormal():
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(200_000, 3))
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    bands = harmonics(unit)
    gram = 4 * np.pi * bands.T @ bands / len(bands)
    np.testing.assert_allclose(gram, np.eye(9), atol=0.02)


def test_light_stays_in_the_scene_when_the_head_turns():
    lights = light.sample_lights(np.random.default_rng(3))
    turn = np.array([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]], "f4")
    normal = np.array([[0.0, 0.6, 0.8], [1.0, 0.0, 0.0]], "f4")  # in the scene
    falling = lambda n, rotation: (harmonics(n) * light.COSINE) @ light.radiance(lights, rotation)
    np.testing.assert_allclose(
        falling(normal @ turn.T, turn), falling(normal, np.eye(3, dtype="f4")), rtol=1e-4
    )


def test_hollows_get_less_light_than_the_forehead(studio):
    anatomy = studio.anatomy
    head = anatomy.head
    even = 3.5449 * anatomy.transfer[:, 0]  # share of an even sky
    parts = {name: head.part_names.index(name) for name in ("inner_mouth", "skin")}
    of_part = lambda name: np.unique(head.triangles[head.triangle_part == parts[name]])
    forehead = of_part("skin")[head.template[of_part("skin"), 1] > 0.15]
    assert even[forehead].mean() > 0.8
    assert even[of_part("inner_mouth")].mean() < 0.4


def test_hair_stays_outside_the_skull(studio):
    head, rng = studio.anatomy.head, np.random.default_rng(5)
    person = sample_person(rng, len(head.identity), studio.groups)
    neutral = np.asarray(studio.shape(person.identity))
    skin = np.unique(head.triangles[head.triangle_part == 0])
    garment = wear.garment(rng, neutral[skin], wear.neckline(rng))
    shoulders = obstacles.measure_shoulders(garment.vertices, wear.AROUND)
    style = hair.sample_style(rng, person)._replace(name="long", strands=300, length=0.8, cut=-0.5)
    strands = hair.grow(rng, studio.anatomy, person, style, neutral, shoulders)
    skull = obstacles.measure_skull(neutral[neutral[:, 1] > -0.24])
    offset = strands.points[:, 1:].reshape(-1, 3) - obstacles.CENTRE
    radius = np.linalg.norm(offset, axis=-1)
    above = offset[:, 1] > -0.05
    assert (radius - skull(offset / radius[:, None]))[above].min() > -0.002
    assert strands.points[..., 1].min() > -0.55  # the cut


def test_cameras_look_at_the_face_from_the_front():
    cameras = motion.cameras(motion.sample_poses(np.random.default_rng(1), 50))
    pose = cameras[:, :16].reshape(-1, 4, 4)
    np.testing.assert_allclose(
        np.einsum("tji,tjk->tik", pose[:, :3, :3], pose[:, :3, :3]),
        np.tile(np.eye(3), (50, 1, 1)),
        atol=1e-5,
    )
    assert (np.linalg.det(pose[:, :3, :3]) > 0).all()
    assert (pose[:, 2, 3] > 1.5).all()
    frontal = motion.camera(0, 0, 0, 2.7, motion.ANCHOR)[:16].reshape(4, 4)
    np.testing.assert_allclose(frontal[:3, :3], np.diag([1.0, -1.0, -1.0]), atol=1e-6)
    np.testing.assert_allclose(frontal[:3, 3], [0, 0, 2.7], atol=1e-6)


def test_a_movement_passes_through_its_moments():
    moments = np.random.default_rng(0).normal(size=(3, 5))
    np.testing.assert_array_equal(motion.glide(moments, 3, 1), moments)
    found = motion.glide(moments, 9, 4)
    np.testing.assert_array_equal(found[::4], moments)
    steps = np.abs(np.diff(found, axis=0))
    assert (steps[0] < steps[1]).all() and (steps[3] < steps[2]).all()
    assert (steps < np.abs(np.diff(moments, axis=0)).max(0)).all()
    np.testing.assert_array_equal(motion.glide(moments[:1], 1, 4), moments[:1])


def test_lids_follow_the_gaze(studio):
    head = studio.anatomy.head
    gaze = np.array([[0.3, -0.2, 0.3, -0.2]], "f4")  # both eyes to the head's left, down
    out = motion.follow_gaze(np.zeros((1, 52), "f4"), gaze, head)[0]
    named = dict(zip(head.expression_names, out, strict=True))
    assert named["eyeLookOutLeft"] > 0.3 and named["eyeLookInRight"] > 0.3
    assert named["eyeLookDownLeft"] > 0.3 and named["eyeLookUpLeft"] == 0


def test_shards_return_what_was_written(tmp_path, clip):
    path = files.write_shard(tmp_path, 7, [0, 1], [clip, clip])
    mapped = files.open_shard(path)
    for name in clip._fields:
        np.testing.assert_array_equal(mapped[name][1], getattr(clip, name))
    person = shards.Shards(tmp_path)[1]
    for name, values in person.items():
        np.testing.assert_array_equal(values, getattr(clip, name))
    assert jnp.asarray(mapped["number"]).tolist() == [0, 1]


def test_a_compressed_shard_is_refused_by_name(tmp_path):
    np.savez_compressed(tmp_path / "heads_000000.npz", image=np.zeros(3))
    with pytest.raises(ValueError, match=r"heads_000000\.npz is compressed"):
        files.open_shard(tmp_path / "heads_000000.npz")
