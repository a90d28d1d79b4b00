"""From frames to an avatar to an image, at the smallest size with random weights."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from invertavatar_jax import avatar, film, motion, networks, settings
from invertavatar_jax.errors import UserError
from invertavatar_jax.types import Camera, FaceFit
from tests.encode.weights import draw

FRAMES, SIDE = 5, 48


@pytest.fixture(scope="module")
def model():
    sizes = settings.preset("tiny")
    # drawn, as fresh refinement heads are zero and would hide what the later frames say
    return avatar.Model(sizes, draw(functools.partial(networks.init, sizes)))


@pytest.fixture(scope="module")
def track(model):
    rng = np.random.default_rng(0)
    pose = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
    pose[2, 3] = 2.7
    intrinsics = np.array([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]], np.float32)
    repeat = lambda x: np.broadcast_to(x, (FRAMES, *x.shape))
    return FaceFit(
        identity=rng.normal(size=len(model.head.identity)).astype(np.float32),
        expression=rng.random((FRAMES, len(model.head.expression_names)), dtype=np.float32),
        gaze_rad=np.zeros((FRAMES, 4), np.float32),
        camera=Camera(repeat(pose), repeat(intrinsics)),
        image=rng.integers(0, 256, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8),
        matte=np.full((FRAMES, SIDE, SIDE), 255, np.uint8),
        landmarks_px=np.zeros((FRAMES, 478, 2), np.float32),
        source_from_crop=repeat(np.eye(3, dtype=np.float32)),
        has_face=np.array([True, True, False, True, True]),
        frame_index=np.arange(FRAMES),
        frames_per_second=25.0,
    )


def _equal(left, right) -> bool:
    same = jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), left, right)
    return all(jax.tree.leaves(same))


def test_folding_frames_one_by_one_equals_the_whole_bit_for_bit(model, track):
    whole = model.reconstruct(track)
    stream = None
    for seen in avatar.observations(track):
        stream = model.observe(stream, seen)
    assert _equal(whole, model.finish(stream))


def test_an_avatar_made_midway_does_not_disturb_the_stream(model, track):
    stream = None
    for seen in avatar.observations(track):
        stream = model.observe(stream, seen)
        midway = model.finish(stream)
    assert _equal(model.reconstruct(track), midway)


def test_later_frames_do_not_disturb_an_avatar_made_midway(model, track):
    first, second, *_ = avatar.observations(track)
    stream = model.observe(None, first)
    midway = model.finish(stream)
    before = jax.tree.map(np.array, midway)  # a copy
    model.observe(stream, second)
    assert _equal(before, midway)


def test_streaming_writes_every_array_of_the_state_over_an_old_one(model, track):
    def places(stream):
        return {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(stream.memory)}

    first, second, third, *_ = avatar.observations(track)
    stream = model.observe(model.observe(None, first), second)
    before = places(stream)
    assert places(model.observe(stream, third)) == before


def test_frames_without_a_face_change_nothing(model, track):
    seen = [i for i, face in enumerate(track.has_face) if face]
    assert _equal(model.reconstruct(track), model.reconstruct(track, seen))


def test_a_later_frame_changes_the_avatar(model, track):
    one, two = model.reconstruct(track, [0]), model.reconstruct(track, [0, 1])
    assert not _equal(one.maps, two.maps)


def test_expression_and_camera_change_the_image(model, track):
    person = model.reconstruct(track, [0])
    camera = Camera(*(x[0] for x in track.camera))
    rest = np.zeros(len(model.head.expression_names), np.float32)
    smile = rest.copy()
    smile[model.head.expression_names.index("jawOpen")] = 1.0
    image = model.render(person, rest, camera)
    side = model.sizes.renderer.image_resolution
    assert image.shape == (side, side, 3)
    assert np.isfinite(image).all()
    assert np.abs(image).max() <= 1
    assert not np.array_equal(image, model.render(person, smile, camera))


def test_a_track_without_a_face_is_one_sentence(model, track):
    with pytest.raises(UserError, match="No face"):
        model.reconstruct(track._replace(has_face=np.zeros(FRAMES, bool)))


def _drawn(model, person, track, key=None):
    camera = Camera(*(x[0] for x in track.camera))
    return model.render(person, track.expression[0], camera, key=key)


def test_only_a_key_makes_an_image_random(model, track):
    person = model.reconstruct(track, [0])
    shown = lambda key: np.asarray(_drawn(model, person, track, key))
    one, other = shown(jax.random.key(0)), shown(jax.random.key(1))
    assert np.array_equal(shown(None), shown(None))
    assert np.array_equal(one, shown(jax.random.key(0)))
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, shown(None))


def test_the_released_evaluation_is_one_answer_and_another_one(model, track):
    released = model.reconstruct(track, released=True)
    assert _equal(released, model.reconstruct(track, released=True))
    assert not _equal(released.w_plus, model.reconstruct(track).w_plus)
    # two frames are repeated until they fill a chunk, in this order
    filled = model.reconstruct(track, [0, 1, 0, 1], released=True)
    assert _equal(model.reconstruct(track, [0, 1], released=True).maps, filled.maps)


@pytest.fixture(scope="module")
def one_shot(model):
    sizes = dataclasses.replace(model.sizes, one_shot=True)
    return avatar.Model(sizes, draw(functools.partial(networks.init, sizes)), model.head)


def test_a_one_shot_model_makes_an_avatar_of_one_frame(one_shot, track):
    person = one_shot.reconstruct(track, [1])
    assert np.isfinite(_drawn(one_shot, person, track)).all()


def test_a_one_shot_model_refuses_more_frames(one_shot, track):
    with pytest.raises(UserError, match="exactly one frame, got 4"):
        one_shot.reconstruct(track)
    seen = avatar.observations(track, [0, 1])
    stream = one_shot.observe(None, seen[0])
    with pytest.raises(UserError, match="exactly one frame, and has one"):
        one_shot.observe(stream, seen[1])


@pytest.fixture(scope="module")
def moves(track):
    return motion.from_track(track)


def test_a_film_is_the_images_of_its_frames_in_order(model, track, moves, monkeypatch):
    """Two at once: the last call is padded, and what pads it is not shown."""
    made = model.reconstruct(track, [0])
    monkeypatch.setattr(film, "frames_at_once", lambda _: 2)
    shown = list(film.film(model, made, moves))
    assert len(shown) == FRAMES
    for i, image in enumerate(shown):
        camera = Camera(*(x[i] for x in moves.camera))
        alone = model.render(made, moves.expression[i], camera, moves.gaze_rad[i])
        np.testing.assert_allclose(image, alone, atol=1e-5)
    assert np.abs(shown[0] - shown[1]).max() > 1e-3


def test_frames_at_once_fit_into_memory():
    at_once = lambda name: film.frames_at_once(settings.preset(name))
    assert (at_once("paper"), at_once("small"), at_once("tiny")) == (1, 2, 8)


def test_a_preview_shows_the_models_avatars_nearly_as_it_does(model, track, moves):
    made = model.reconstruct(track, [0])
    camera = Camera(*(x[0] for x in moves.camera))
    exact = model.render(made, moves.expression[0], camera)
    faster = model.preview()
    near = faster.render(made, moves.expression[0], camera)
    assert near.shape == exact.shape
    assert 0 < np.abs(near - exact).mean() < 0.1
    assert faster.sizes.renderer.ray_resolution == model.sizes.renderer.neural_resolution // 2
    again = model.render(made, moves.expression[0], camera)
    np.testing.assert_array_equal(again, exact)  # the model itself is as it was


def test_an_unknown_way_to_compute_is_told():
    with pytest.raises(ValueError, match="got 'int8', expected one of float32, tensorfloat32"):
        avatar.make_steps(settings.preset("tiny"), compute="int8")
