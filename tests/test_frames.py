"""Tracked frames as the networks read them, with the bundled head."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import frames, settings
from invertavatar_jax.avatar import Observation
from invertavatar_jax.fit import camera as cameras
from invertavatar_jax.fit.morphable import load_head_model
from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.rasterize import api, views
from invertavatar_jax.types import Camera

SIZES = settings.preset("tiny")
SIDE = SIZES.renderer.image_resolution


@pytest.fixture(scope="module")
def head():
    return load_head_model()


@pytest.fixture(scope="module")
def geometry(head):
    return frames.geometry(head, SIZES)


@pytest.fixture(scope="module")
def shot(head):
    """A frame of a turned head in front of bands of colour; the person is a disc, red."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: 2 * SIDE, : 2 * SIDE]
    person = np.hypot(x - SIDE + 0.5, y - SIDE + 0.5) < 0.7 * SIDE
    image = np.stack([np.zeros_like(x), 4 * y, 200 + 0 * x], -1)
    image[person] = (255, 0, 0)
    expression = np.zeros(len(head.expression_names), np.float32)
    expression[head.expression_names.index("jawOpen")] = 0.5
    return Observation(
        image.astype(np.uint8),
        np.where(person, 255, 0).astype(np.uint8),
        0.5 * rng.normal(size=head.identity.shape[0]).astype(np.float32),
        expression,
        np.array([0.2, 0.0, 0.2, 0.0], np.float32),
        Camera(cameras.orbit(0.3, 0.1), cameras.intrinsics()),
    )


@pytest.fixture(scope="module")
def made(geometry, shot):
    return frames.make_frame(geometry, shot)


def test_every_map_has_the_models_size(made):
    frame, background = made
    u, p, r = SIZES.uv_resolution, SIDE, SIZES.raster_resolution
    shapes = jax.tree.map(lambda x: x.shape, frame)
    assert shapes.image == background.shape == (1, p, p, 3) and shapes.matte == (1, p, p, 1)
    assert shapes.uv_rgb == (1, u, u, 3) and shapes.uv_xy == (1, u, u, 2)
    assert shapes.uv_visible == (1, u, u, 1) and shapes.frontal_xy == (1, p, p, 2)
    assert shapes.drive.raster == (1, r, r, 3) and shapes.drive.box_raster == (1, p, p, 4)
    assert shapes.drive.view == (1, p, p, 3)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(frame))


def test_the_rasters_are_those_of_the_deformed_head(made, geometry, head, shot):
    drive = made[0].drive
    vertices, _ = geometry.deform(shot.identity[None], shot.expression[None], shot.gaze_rad[None])
    expected = views.canonical_raster(
        head,
        vertices,
        SIZES.raster_resolution,
        SIZES.raster_window,
        box_warp=SIZES.renderer.box_warp,
        mask="head",
    )
    assert 0.3 < float(expected[..., 2].mean()) < 0.9
    np.testing.assert_allclose(drive.raster, expected, atol=1e-5)  # cut from the whole box
    seen, _ = views.camera_raster(head, vertices[0], shot.camera, SIDE, mask="head")
    np.testing.assert_allclose(drive.view[0], seen, atol=1e-5)


def drive_as(geometry, shot):
    values = shot.identity, shot.expression, shot.gaze_rad
    camera = Camera(*(np.asarray(x)[None] for x in shot.camera))
    return frames.make_drives(geometry, *(x[None] for x in values), camera)


def test_a_window_off_the_boxs_grid_is_drawn_by_itself(head, geometry, shot):
    sizes = dataclasses.replace(SIZES, raster_window=(41, 200, 48, 207), raster_resolution=24)
    drive = drive_as(frames.geometry(head, sizes), shot)
    vertices, _ = geometry.deform(shot.identity[None], shot.expression[None], shot.gaze_rad[None])
    expected = views.canonical_raster(
        head,
        vertices,
        24,
        sizes.raster_window,
        box_warp=sizes.renderer.box_warp,
        mask="head",
    )
    assert expected.shape == (1, 24, 24, 3)
    np.testing.assert_allclose(drive.raster, expected, atol=1e-5)


def test_the_photo_is_red_where_the_head_is_seen(made):
    frame, _ = made
    visible = np.asarray(frame.uv_visible[..., 0]) == 1
    assert 0.1 < visible.mean() < 0.8
    colours = np.asarray(frame.uv_rgb)[visible]
    assert np.median(colours[:, 0]) > 0.99 and np.median(colours[:, 1:]) < -0.99
    assert np.all(np.asarray(frame.uv_rgb)[~visible] == 1)
    matte = grid_sample(frame.matte, frame.uv_xy)[..., 0]
    assert np.all(np.asarray(matte)[visible] >= 0.5)


def test_the_frontal_photo_lies_on_the_head(made, geometry, shot):
    """A point of the mesh and the frontal texel in front of it fall on the same pixel."""
    frame, _ = made
    vertices, normals = geometry.deform(
        shot.identity[None], shot.expression[None], shot.gaze_rad[None]
    )
    half = SIZES.renderer.box_warp / 2
    front = (np.asarray(normals[0, :, 2]) > 0.9) & (np.asarray(vertices[0, :, 2]) > 0.2)
    points = np.asarray(vertices[0])[front]
    pixel, _ = cameras.project(shot.camera, points)
    at = grid_sample(frame.frontal_xy, jnp.asarray(points[None, :, :2] / half))[0]
    assert front.sum() > 50
    assert np.abs(np.asarray(at) - (2 * pixel - 1)).max() < 0.05
    steps = np.abs(np.diff(np.asarray(frame.frontal_xy[0]), axis=0)).max()
    assert steps < 0.4  # smooth around the head, too


def test_the_background_keeps_what_is_behind_and_loses_the_person(made):
    frame, background = made
    image, matte, filled = (np.asarray(x[0]) for x in (frame.image, frame.matte, background))
    assert filled[..., 0].max() < -0.9 and image[..., 0].max() > 0.99
    corner = np.s_[:3, :3]
    assert np.all(matte[corner] == 0)
    np.testing.assert_array_equal(filled[corner], image[corner])


def test_a_crops_padding_is_no_person_and_no_background(geometry, shot):
    image, matte = shot.image.copy(), np.full_like(shot.matte, 255)
    image[-20:], image[:, :12] = 0, 0
    matte[:8] = 0  # the only background that is known
    frame, background = frames.make_frame(geometry, shot._replace(image=image, matte=matte))
    kept = np.asarray(frame.matte[0, ..., 0])
    assert np.all(kept[-9:] == 0) and np.all(kept[:, :5] == 0) and np.all(kept[6:20, 8:] == 1)
    visible = np.asarray(frame.uv_visible[..., 0]) == 1
    xy = np.asarray(frame.uv_xy)[visible]
    assert len(xy) > 100 and xy[:, 1].max() <= 1 - 19 / SIDE and xy[:, 0].min() >= -1 + 11 / SIDE
    assert np.asarray(background)[..., 2].min() > 0.3  # blue everywhere, nowhere black


def test_a_batch_is_its_frames_one_by_one(geometry, shot, made):
    other = shot._replace(camera=Camera(cameras.orbit(-0.2, 0.0), cameras.intrinsics()))
    pair = jax.tree.map(lambda *x: np.stack(x), shot, other)
    both, backgrounds = frames.make_frames(geometry, *pair)
    for i, alone in enumerate((made, frames.make_frame(geometry, other))):
        got = jax.tree.map(lambda x, i=i: x[i : i + 1], (both, backgrounds))
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(alone), strict=True):
            assert np.mean(np.abs(np.asarray(a) - np.asarray(b)) > 1e-3) < 1e-3


def test_the_released_model_gets_the_released_maps_alone(head, shot):
    sizes = dataclasses.replace(SIZES, departures=settings.Departures())
    geometry = frames.geometry(head, sizes)
    frame, _ = frames.make_frame(geometry, shot)
    assert frame.frontal_xy is None and frame.drive.box_raster is None
    vertices, _ = geometry.deform(shot.identity[None], shot.expression[None], shot.gaze_rad[None])
    expected = views.canonical_raster(
        head,
        vertices,
        sizes.raster_resolution,
        sizes.raster_window,
        box_warp=sizes.renderer.box_warp,
        released_edges=True,
    )
    np.testing.assert_allclose(frame.drive.raster, expected, atol=1e-5)
    assert float(frame.drive.raster[..., 2].mean()) > 0.2


def test_a_list_that_is_too_short_is_grown(geometry, shot, made, monkeypatch):
    monkeypatch.setattr(views, "first_capacity", lambda *_: 512)
    drive = drive_as(geometry, shot)
    np.testing.assert_array_equal(drive.raster, made[0].drive.raster)
    assert api.first_capacity(1, 10, 8, 8) == api.LEAST_CAPACITY


def test_a_photo_that_is_not_square_raises(geometry, shot):
    with pytest.raises(ValueError, match="60 x 64 pixels; expected a square crop"):
        frames.make_frame(geometry, shot._replace(image=shot.image[:, :60]))
