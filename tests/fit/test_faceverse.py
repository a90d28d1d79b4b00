"""FaceVerse v3.1's file: reading it as data, and refusing what is not it."""

import os

import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import head_models
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import faceverse, morphable
from invertavatar_jax.fit.camera import intrinsics
from invertavatar_jax.ops.project import project

POINTS, EYE = 60, (40, 48, 56)


def make_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of a bumpy sheet with two eyeballs, with the file's names and shapes."""
    rng = np.random.default_rng(seed)
    triangles = rng.integers(0, POINTS, (90, 3)).astype(np.int64)
    mean = rng.normal(size=(POINTS, 3)).astype(np.float32)
    mean[EYE[0] : EYE[1], 0] += 3  # the first eyeball is the head's left one
    return {
        "meanshape": mean,
        "idBase": rng.normal(size=(3 * POINTS, 150)).astype(np.float32),
        "exBase": rng.normal(size=(3 * POINTS, 171)).astype(np.float32),
        "tri": triangles,
        "point_buf": rng.integers(0, len(triangles) + 1, (POINTS, 8)),
        "uv_per_ver": rng.uniform(0, 1, (POINTS, 2)).astype(np.float32),
        "ver_inds": np.array([*EYE, POINTS]),
    }


def make_head(arrays, mask) -> morphable.HeadModel:
    return faceverse.head_model(arrays, mask, where="f.npy", vertices=POINTS)


@pytest.fixture
def files(tmp_path):
    """The model file and the mask beside it."""
    arrays = make_arrays() | {"keypoints": [1, 2, 3], "name": "faceverse", "nothing": None}
    np.save(tmp_path / "faceverse_v3_1.npy", arrays, allow_pickle=True)
    np.save(tmp_path / head_models.FACE_MASK, np.arange(POINTS) % 2)
    return tmp_path / "faceverse_v3_1.npy"


def read(path) -> morphable.HeadModel:
    return head_models.read_faceverse(path, vertices=POINTS)


def test_a_file_of_numpy_save_is_the_head(files):
    head = read(files)
    expected = make_head(make_arrays(), np.arange(POINTS) % 2)
    for name, got, want in zip(head._fields, head, expected, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=name)
    assert head.template.shape == (POINTS, 3) and head.identity.shape == (150, POINTS, 3)
    assert head.expression.shape == (171, POINTS, 3)
    assert head.expression_names[0] == "faceverse000" and len(set(head.expression_names)) == 171


def test_the_eyes_are_of_the_mask_and_the_face_is_drawn_first(files):
    head = read(files)
    assert (head.face_mask[EYE[0] : EYE[2]] == 1).all()
    assert head.face_mask[: EYE[0]].tolist() == [i % 2 for i in range(EYE[0])]
    share = head.face_mask[head.triangles].mean(1)
    assert (np.diff(share) <= 1e-6).all()


def test_normals_follow_the_files_lists(files):
    """As the released code sums them, with the triangles in their own order."""
    arrays, head = make_arrays(), read(files)
    corner = head.template.astype(np.float64)[arrays["tri"]]
    area = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    total = np.concatenate([area, np.zeros((1, 3))])[arrays["point_buf"]].sum(1)
    unit = total / np.linalg.norm(total, axis=-1, keepdims=True)
    got = morphable.normals(head, jnp.asarray(head.template))
    np.testing.assert_allclose(got, unit, atol=2e-4)


def test_the_middle_of_the_uv_square_is_spread(files):
    given, spread = make_arrays()["uv_per_ver"], read(files).uv
    middle = (np.abs(given - 0.5) < (0.305, 0.227)).all(1)
    assert 0 < middle.sum() < POINTS
    np.testing.assert_allclose(spread[middle] - 0.5, 1.4 * (given[middle] - 0.5), atol=1e-6)
    np.testing.assert_array_equal(spread[~middle], given[~middle])


@pytest.mark.parametrize("swapped", [False, True])
def test_gaze_turns_the_eye_that_the_angles_name(swapped):
    arrays = make_arrays()
    if swapped:
        arrays["meanshape"][EYE[0] : EYE[1], 0] -= 6
    head = make_head(arrays, np.zeros(POINTS))
    left = head.template[head.eye_left, 0].mean()
    assert left > head.template[head.eye_right, 0].mean()
    gaze = faceverse.gaze(head, np.array([0.3, 0.2, 0.0, 0.0], np.float32))
    rest = jnp.zeros((150,)), jnp.zeros((171,))
    moved = morphable.vertices(head, *rest, jnp.asarray(gaze)) - head.template
    still = np.abs(np.asarray(moved)).max(1) < 1e-6
    assert not still[EYE[0] : EYE[1]].any() and still[EYE[1] :].all() and still[: EYE[0]].all()


def test_the_camera_sees_the_posed_head():
    """Two ways of the same picture: the released one, and our camera on the canonical head."""
    rng = np.random.default_rng(3)
    packed = rng.normal(0, 0.3, (2, 610))
    packed[:, 609] = 1.1
    fitted = faceverse.split(packed)
    points = rng.normal(size=(1, 9, 3))
    world = faceverse.WORLD_FROM_MODEL
    position, _ = project(
        faceverse.camera(fitted),
        jnp.asarray(np.repeat(points @ world[:3, :3].T + world[:3, 3], 2, 0), jnp.float32),
    )
    x, y, z = fitted.angles[0]
    turn = np.eye(3)
    for axis, angle in enumerate((x, y, z)):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[j, i], step[i, j] = np.sin(angle), -np.sin(angle)
        turn = step @ turn
    posed = 1.1 * points[0] @ turn.T + fitted.translation[0]
    seen = posed * [-1, 1, -1] + [0, 0, 5]
    image = seen @ intrinsics().T
    np.testing.assert_allclose(position[0], image[:, :2] / image[:, 2:], atol=1e-4)


def test_driving_expressions_are_limited():
    limited = faceverse.limit_driving(np.full(171, 2.0))
    assert limited[-4] == 0.6 and limited[-2] == 0.75 and (limited[:-4] == 2).all()
    assert faceverse.limit_driving(np.full(171, -2.0))[[-4, -2]].tolist() == [-0.75, -0.75]


def test_frames_have_610_coefficients():
    fitted = faceverse.split(np.arange(610))
    assert [len(part) for part in fitted] == [150, 171, 251, 3, 27, 3, 4, 1]
    with pytest.raises(ValueError, match="610 FaceVerse coefficients, got 572"):
        faceverse.split(np.zeros(572))


WRONG = {
    "meanshape": (np.zeros((9, 3)), "meanshape is float64 of shape"),
    "idBase": (np.zeros((3 * POINTS, 80)), "expected real numbers of shape"),
    "exBase": (np.zeros((3 * POINTS, 171), "U1"), "expected real numbers of shape"),
    "tri": (np.full((4, 3), POINTS), "tri holds numbers from 60 to 60; expected 0 to 59"),
    "point_buf": (np.zeros((3, 8), int), "point_buf is int64 of shape"),
    "ver_inds": (np.array([5, 4, 9]), "ver_inds is"),
    "uv_per_ver": (np.zeros((POINTS, 3)), "uv_per_ver is float64 of shape"),
}


@pytest.mark.parametrize("name", WRONG)
def test_missing_and_foreign_arrays_are_named(name):
    arrays = make_arrays()
    value, sentence = WRONG[name]
    with pytest.raises(UserError, match=f"f.npy: .*{sentence}"):
        make_head(arrays | {name: value}, np.zeros(POINTS))
    del arrays[name]
    with pytest.raises(UserError, match=f"f.npy has no array '{name}'; expected the file"):
        make_head(arrays, np.zeros(POINTS))


def test_another_version_has_another_number_of_vertices(files):
    with pytest.raises(UserError, match=r"expected real numbers of shape \(28227, 3\).*v3\.1"):
        head_models.open_head_model(files)


@pytest.mark.parametrize("mask", [np.zeros(9), np.full(POINTS, 0.5), np.array(["a"])])
def test_another_mask_is_refused(files, mask):
    np.save(files.with_name(head_models.FACE_MASK), mask)
    with pytest.raises(UserError, match=r"The face mask beside .* expected a 0 or 1 for each"):
        read(files)


def test_files_of_another_kind_are_refused(files, tmp_path):
    whole = files.read_bytes()
    for length in (0, 5, 90, 140, 2000, len(whole) - 1):
        files.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"is empty|refused at byte"):
            read(files)
    np.save(files, np.zeros((3, 3)))
    with pytest.raises(UserError, match="plain numbers; expected a pickled dictionary"):
        read(files)
    np.save(files, np.array(["text"], object), allow_pickle=True)
    with pytest.raises(UserError, match="holds no dictionary of arrays"):
        read(files)
    with pytest.raises(UserError, match="There is no head model"):
        head_models.open_head_model(tmp_path / "absent.npy")
    (tmp_path / "head.txt").write_text("head")
    with pytest.raises(UserError, match=r"is no head model; expected faceverse_v3_1\.npy"):
        head_models.open_head_model(tmp_path / "head.txt")
    (tmp_path / "head.npz").write_text("head")
    with pytest.raises(UserError, match="no head model of fit/build_head"):
        head_models.open_head_model(tmp_path / "head.npz")


def test_a_missing_mask_is_named(files):
    files.with_name(head_models.FACE_MASK).unlink()
    with pytest.raises(UserError, match=r"There is no face mask .*v31_face_mask_new"):
        read(files)


class Command:
    """What a hostile file holds: loading it as Python does would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_that_a_file_names_is_run(files, tmp_path):
    np.save(files, make_arrays() | {"extra": Command(tmp_path / "made")}, allow_pickle=True)
    with pytest.raises(UserError, match=r"names (posix|nt)\.mkdir"):
        read(files)
    assert not (tmp_path / "made").exists()
    np.load(files, allow_pickle=True)
    assert (tmp_path / "made").exists()  # so the file was hostile
