"""ICT-FaceKit's folder: a small one of the same structure, and what is wrong with others."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import head_models
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import ict_facekit, morphable

SIDE = 4  # points along a piece's edge
PIECE = SIDE**2
NAMES = [part.name for part in ict_facekit.PARTS]
PARTS = tuple(p._replace(end=PIECE * (i + 1)) for i, p in enumerate(ict_facekit.PARTS))
COUNT = PARTS[-1].end
IDENTITIES = 3
CENTRE = {"eye_l": (3.0, 1.0, 4.0), "eye_r": (-3.0, 1.0, 4.0)}


def make_points() -> np.ndarray:
    """One sheet of quads for each part, in centimetres."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1) - 0.5
    sheet = np.stack([x.ravel(), y.ravel(), rng.normal(0, 0.1, PIECE)], -1)
    points = [sheet + CENTRE.get(name, (0, -8 + i, 0)) for i, name in enumerate(NAMES)]
    return np.concatenate(points)


def make_faces() -> list[str]:
    faces = []
    for i in range(len(NAMES)):
        for r in range(SIDE - 1):
            for c in range(SIDE - 1):
                corner = [(r, c), (r, c + 1), (r + 1, c + 1), (r + 1, c)]
                numbers = [r_ * SIDE + c_ for r_, c_ in corner]
                joined = i > 0 and NAMES[i] not in CENTRE  # by a corner to the piece before
                points = [i * PIECE + n + (not (joined and n == 0)) for n in numbers]
                texts = (f"{p}/{n + 1}/1" for p, n in zip(points, numbers, strict=True))
                faces.append("f " + " ".join(texts))
    return faces


def write_obj(path, points) -> None:
    uvs = [
        f"vt {c / (SIDE - 1):.6f} {r / (SIDE - 1):.6f}" for r in range(SIDE) for c in range(SIDE)
    ]
    rows = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points]
    path.write_text("\n".join(["# head", *rows, *uvs, "vn 0 0 1", "g all", *make_faces(), ""]))


def moves(name: str) -> np.ndarray:
    """The displacements of a shape: their own for every name."""
    seed = int.from_bytes(name.encode(), "little") % 2**32
    return np.random.default_rng(seed).normal(size=(COUNT, 3)).round(3)


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    points = make_points().round(6)
    write_obj(folder / "generic_neutral_mesh.obj", points)
    files = [name for names in ict_facekit.EXPRESSIONS.values() for name in names]
    for name in [*files, *(f"identity{i:03d}" for i in range(IDENTITIES))]:
        write_obj(folder / f"{name}.obj", points + moves(name))
    landmarks = {"idx_to_landmark_verts": [i % COUNT for i in range(68)]}
    (folder / "vertex_indices.json").write_text(json.dumps(landmarks))
    return tmp_path


def read(folder) -> morphable.HeadModel:
    return ict_facekit.head_model(folder, parts=PARTS, identities=IDENTITIES)


def point_of(head) -> np.ndarray:
    """The OBJ point of every vertex, by its place."""
    points = make_points()
    scale = eye_distance(head) / 6.0
    shift = head.template[head.eye_left].mean(0) - scale * points[part_points("eye_l")].mean(0)
    away = np.abs(head.template[:, None] - (scale * points + shift)).max(-1)
    assert away.min(1).max() < 1e-5
    return away.argmin(1)


def part_points(name: str) -> np.ndarray:
    i = NAMES.index(name)
    return np.arange(PARTS[i - 1].end if i else 0, PARTS[i].end)


def eye_distance(head) -> float:
    eyes = [
        np.asarray(morphable.eye_centre(head, head.template, eye))
        for eye in (head.eye_left, head.eye_right)
    ]
    return float(np.linalg.norm(eyes[0] - eyes[1]))


def test_the_53_shapes_are_arkits_52_names():
    files = [name for names in ict_facekit.EXPRESSIONS.values() for name in names]
    assert len(files) == len(set(files)) == 53
    bundled = morphable.load_head_model().expression_names
    assert set(ict_facekit.EXPRESSIONS) == set(bundled) and len(bundled) == 52
    assert ict_facekit.EXPRESSIONS["browInnerUp"] == ("browInnerUp_L", "browInnerUp_R")
    assert ict_facekit.EXPRESSIONS["jawLeft"] == ("jawLeft",)
    assert ict_facekit.EXPRESSIONS["mouthSmileLeft"] == ("mouthSmile_L",)
    assert [name for name, names in ict_facekit.EXPRESSIONS.items() if not names] == ["tongueOut"]


def test_the_table_of_parts_ends_with_the_models_last_vertex():
    ends = [part.end for part in ict_facekit.PARTS]
    assert ends == sorted(ends) and ends[-1] == 26_719
    size = dict(zip(NAMES, np.diff([0, *ends]), strict=True))
    assert size["eye_l"] == size["eye_r"] and size["eye_socket_l"] == size["eye_socket_r"]


def test_eyes_lie_where_the_bundled_head_has_them(checkout):
    head, bundled = read(checkout), morphable.load_head_model()
    for eye in ("eye_left", "eye_right"):
        here = morphable.eye_centre(head, head.template, getattr(head, eye))
        there = morphable.eye_centre(bundled, bundled.template, getattr(bundled, eye))
        np.testing.assert_allclose(here, there, atol=1e-5)


def test_shapes_are_the_files_displacements(checkout):
    head = read(checkout)
    point, scale = point_of(head), eye_distance(head) / 6.0
    eyes = np.isin(point, np.concatenate([part_points("eye_l"), part_points("eye_r")]))
    for i in range(IDENTITIES):
        expected = moves(f"identity{i:03d}")[point] * scale
        np.testing.assert_allclose(head.identity[i], expected, atol=1e-5)
    for name, delta in zip(head.expression_names, head.expression, strict=True):
        expected = sum(
            (moves(file) for file in ict_facekit.EXPRESSIONS[name]), np.zeros((COUNT, 3))
        )
        expected = np.where(eyes[:, None], 0.0, expected[point] * scale)
        np.testing.assert_allclose(delta, expected, atol=1e-5, err_msg=name)


def test_the_gaze_turns_the_eyeballs_alone(checkout):
    head = read(checkout)
    gaze = jnp.array([0.3, 0.1, 0.0, 0.0])
    moved = morphable.vertices(head, jnp.zeros(3), jnp.zeros(52), gaze) - head.template
    away = np.abs(np.asarray(moved)).max(1)
    assert away[head.eye_left].max() > 1e-3
    assert away[np.setdiff1d(np.arange(len(away)), head.eye_left)].max() < 1e-6


def test_parts_lie_in_their_slots_and_transparent_ones_are_left_out(checkout):
    head = read(checkout)
    for number, part in enumerate(PARTS):
        used = np.unique(head.triangles[head.triangle_part == number])
        if part.slot is None:
            assert not len(used)
            continue
        low, high = np.array(part.slot).reshape(2, 2)
        np.testing.assert_allclose(head.uv[used].min(0), low, atol=1e-6)
        np.testing.assert_allclose(head.uv[used].max(0), high, atol=1e-6)
    slots = [np.array(part.slot) for part in PARTS if part.slot]
    for i, one in enumerate(slots):
        for other in slots[:i]:
            assert (one[:2] >= other[2:]).any() or (other[:2] >= one[2:]).any()


def test_seams_between_parts_are_closed(checkout):
    head = read(checkout)
    split = head.weld != np.arange(len(head.weld))
    assert split.any()
    np.testing.assert_array_equal(head.template[head.weld], head.template)
    assert head.face_mask[np.isin(point_of(head), part_points("eye_l"))].all()
    assert not head.face_mask[np.isin(point_of(head), part_points("teeth"))].any()


def test_listed_landmarks_are_mediapipes(checkout):
    head = read(checkout)
    point = point_of(head)
    number = head.landmark_index.tolist()
    assert len(number) == len(set(number)) and 33 in number
    assert point[head.landmark_vertices[number.index(33)]].tolist() == [(17 + 19) % COUNT] * 3
    (checkout / "FaceXModel/vertex_indices.json").unlink()
    assert read(checkout).landmark_vertices.shape == (0, 3)


def test_the_model_folder_itself_is_read(checkout):
    head = read(checkout / "FaceXModel")
    np.testing.assert_array_equal(head.template, read(checkout).template)


def spoil(path, change) -> None:
    path.write_text(change(path.read_text()))


SPOILT = {
    "jawOpen.obj": (lambda text: text[: len(text) // 3], "expected .* of three numbers"),
    "jawLeft.obj": (lambda text: text[:-200], "one of them is cut short"),
    "identity001.obj": (lambda text: text.replace("v 0", "v x", 1), "damaged, or of another"),
    "generic_neutral_mesh.obj": (lambda text: text.replace("f 1/1", "f 1/99"), "do not name"),
    "vertex_indices.json": (lambda text: text[:-9], "vertex_indices.json is damaged"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_damaged_files_are_named(checkout, name):
    change, sentence = SPOILT[name]
    spoil(checkout / "FaceXModel" / name, change)
    with pytest.raises(UserError, match=rf"{name}.*{sentence}|{sentence}"):
        read(checkout)


def test_missing_files_are_named(checkout, tmp_path):
    (checkout / "FaceXModel/eyeBlink_L.obj").unlink()
    with pytest.raises(UserError, match=r"There is no .*eyeBlink_L\.obj"):
        read(checkout)
    with pytest.raises(UserError, match=r"holds no FaceXModel/generic_neutral_mesh\.obj"):
        head_models.open_head_model(tmp_path / "FaceXModel/..//..")


def test_another_number_of_vertices_is_another_version(checkout):
    with pytest.raises(UserError, match="vertices; expected 26719 of three numbers"):
        head_models.open_head_model(checkout)


def test_a_mirrored_mesh_is_refused(checkout):
    folder = checkout / "FaceXModel"
    write_obj(folder / "generic_neutral_mesh.obj", make_points() * [-1, 1, 1])
    with pytest.raises(UserError, match="expected the left one at the larger x"):
        read(checkout)
