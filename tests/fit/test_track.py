"""From photos to a FaceFit: on a real portrait, with MediaPipe."""

import av
import numpy as np
import pytest
import skimage.data

from invertavatar_jax.fit import camera, overlay, track
from invertavatar_jax.fit.morphable import load_head_model, vertices
from invertavatar_jax.fit.sources import SourceError
from invertavatar_jax.types import Camera, FaceFit

SIZE = 128


@pytest.fixture(scope="module")
def head():
    return load_head_model()


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return skimage.data.astronaut()


@pytest.fixture(scope="module")
def tracked(portrait) -> tuple[FaceFit, track.Report]:
    """The portrait, a picture without a face, and the portrait moved."""
    wall = np.full((300, 200, 3), 120, np.uint8)
    return track.fit([portrait, wall, portrait[:, 60:]], size=SIZE)


def test_shapes_and_types_are_those_of_the_contract(tracked, head):
    fit = tracked[0]
    frames, expressions = 3, len(head.expression_names)
    assert fit.identity.shape == (len(head.identity),)
    assert fit.expression.shape == (frames, expressions)
    assert fit.gaze_rad.shape == (frames, 4)
    assert fit.camera.world_from_camera.shape == (frames, 4, 4)
    assert fit.camera.intrinsics.shape == (frames, 3, 3)
    assert fit.image.shape == (frames, SIZE, SIZE, 3) and fit.image.dtype == np.uint8
    assert fit.matte.shape == (frames, SIZE, SIZE) and fit.matte.dtype == np.uint8
    assert fit.landmarks_px.shape == (frames, 478, 2)
    assert fit.source_from_crop.shape == (frames, 3, 3)


def test_a_picture_without_a_face_is_marked_and_empty(tracked):
    fit, report = tracked
    assert fit.has_face.tolist() == [True, False, True]
    assert report["frames"] == 3 and report["frames_with_face"] == 2
    assert any("no face" in note for note in report["warnings"])
    assert not fit.expression[1].any() and not fit.matte[1].any()
    assert not fit.landmarks_px[1].any()


def test_the_mesh_meets_the_landmarks(tracked):
    assert tracked[1]["median_error_iod"] < 0.02


def test_the_reported_error_is_that_of_the_mesh_in_the_crop(tracked, head):
    fit, report = tracked
    errors = []
    for t in np.flatnonzero(fit.has_face):
        mesh = np.asarray(vertices(head, fit.identity, fit.expression[t], fit.gaze_rad[t]))
        view = Camera(fit.camera.world_from_camera[t], fit.camera.intrinsics[t])
        corners = camera.project(view, mesh)[0][head.landmark_vertices] * SIZE
        placed = (corners * head.landmark_weights[..., None]).sum(1)
        seen = fit.landmarks_px[t]
        away = np.linalg.norm(placed - seen[head.landmark_index], axis=-1)
        errors.append(away / np.linalg.norm(seen[468] - seen[473]))
    assert np.median(errors) == pytest.approx(report["median_error_iod"], rel=0.03)


def test_expressions_are_weights_and_cameras_are_rigid(tracked):
    fit = tracked[0]
    assert fit.expression.min() >= 0 and fit.expression.max() <= 1
    turn = fit.camera.world_from_camera[:, :3, :3]
    np.testing.assert_allclose(turn @ turn.swapaxes(1, 2), np.tile(np.eye(3), (3, 1, 1)), atol=1e-5)
    radius = np.linalg.norm(fit.camera.world_from_camera[fit.has_face, :3, 3], axis=-1)
    np.testing.assert_allclose(radius, 2.7, atol=0.2)


def test_the_smile_of_the_portrait_is_found(tracked, head):
    smile = tracked[0].expression[:, head.expression_names.index("mouthSmileLeft")]
    assert smile[0] > 0.2


def test_moving_the_picture_moves_the_crop_and_nothing_else(tracked):
    fit = tracked[0]
    np.testing.assert_allclose(
        fit.source_from_crop[0, :2, 2] - fit.source_from_crop[2, :2, 2], (60, 0), atol=3
    )
    assert np.abs(fit.expression[0] - fit.expression[2]).mean() < 0.04
    difference = np.abs(fit.image[0].astype(int) - fit.image[2])
    assert np.median(difference) < 12


def test_crop_coordinates_lead_back_to_the_source(tracked, portrait):
    fit = tracked[0]
    eye = np.append(fit.landmarks_px[0, 468], 1)
    np.testing.assert_allclose((fit.source_from_crop[0] @ eye)[:2], (203.5, 100.5), atol=4)


def test_the_matte_covers_the_face(tracked):
    fit = tracked[0]
    x, y = fit.landmarks_px[0, :468].mean(0).astype(int)
    assert fit.matte[0, y, x] > 200


def test_no_face_at_all_is_an_error_that_says_what_to_do():
    wall = np.full((200, 200, 3), 120, np.uint8)
    with pytest.raises(SourceError, match="no face found in 1 frames") as caught:
        track.fit([wall], size=SIZE)
    assert "larger" in str(caught.value)


def test_progress_counts_both_passes(portrait):
    seen = []
    track.fit([portrait], size=SIZE, progress=lambda stage, done: seen.append((stage, done)))
    assert seen == [("landmarks", 1), ("crops", 1)]


def test_a_sheet_shows_the_mesh_on_faces_only(tracked, head):
    fit = tracked[0]
    drawn = overlay.draw_mesh(head, fit, 0)
    assert drawn.shape == fit.image[0].shape
    x, y = fit.landmarks_px[0, 4].astype(int)  # the nose is covered with lines
    patch = np.s_[y - 8 : y + 8, x - 8 : x + 8]
    assert np.abs(drawn[patch].astype(int) - fit.image[0][patch]).mean() > 5
    np.testing.assert_array_equal(overlay.draw_mesh(head, fit, 1), fit.image[1] // 3)
    assert overlay.contact_sheet(head, fit, columns=2, side=64).shape == (128, 128, 3)


@pytest.fixture(scope="module")
def drifting(tmp_path_factory, portrait):
    """A clip in which the portrait drifts, and is away for two of ten frames."""
    path = tmp_path_factory.mktemp("clip") / "drift.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "2"})
        stream.height, stream.width, stream.pix_fmt = 256, 320, "yuv420p"
        for t in range(10):
            frame = np.full((256, 320, 3), 100, np.uint8)
            if t not in (5, 6):
                frame[:, 4 * t : 4 * t + 256] = portrait[::2, ::2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_video_is_followed_through_a_gap(drifting):
    fit, report = track.fit(drifting, size=SIZE)
    assert fit.has_face.tolist() == [t not in (5, 6) for t in range(10)]
    assert fit.frames_per_second == 10 and report["median_error_iod"] < 0.02
    left = fit.source_from_crop[fit.has_face, 0, 2]
    np.testing.assert_allclose(np.diff(left)[:4], 4, atol=2)  # the crop goes with the head
    steps = np.abs(np.diff(fit.expression[:5], axis=0)).mean()
    assert steps < 0.02  # a still face in a moving frame


def test_a_cut_clip_can_be_tracked_on_request(drifting):
    cut = drifting.with_name("cut.mp4")
    cut.write_bytes(drifting.read_bytes()[: drifting.stat().st_size * 2 // 3])
    with pytest.raises(SourceError, match="cut short"):
        track.fit(cut, size=SIZE)
    fit, report = track.fit(cut, size=SIZE, allow_truncated=True)
    assert 0 < report["frames"] < 10 and fit.has_face[0]
    assert any("cut short" in note for note in report["warnings"])
