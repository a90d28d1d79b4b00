"""Identity features: alignment, cosines, and what each network is given."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import settings, weights
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit.crop import FIVE_POINTS
from invertavatar_jax.metrics import csim, faces
from invertavatar_jax.pure import pure
from invertavatar_jax.supervise import identity
from tests.encode.weights import draw
from tests.metrics.people import Detector


def face_with_dots(turn_rad: float, scale: float, shift_px) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose five points are ALIGNED_PX turned, scaled and shifted, each a white dot."""
    turn = scale * np.array(
        [[np.cos(turn_rad), -np.sin(turn_rad)], [np.sin(turn_rad), np.cos(turn_rad)]]
    )
    five = faces.ALIGNED_PX @ turn.T + shift_px
    y, x = np.mgrid[:200, :160] + 0.5
    apart = np.square(x[..., None] - five[:, 0]) + np.square(y[..., None] - five[:, 1])
    dots = np.exp(-apart / (2 * (2 * scale) ** 2)).max(-1)
    points = np.zeros((478, 2))
    points[FIVE_POINTS] = five[:, None] / 160
    return np.repeat(2 * dots[..., None] - 1, 3, -1), points


@pytest.mark.parametrize(
    "how", [(0.0, 1.0, (3.0, 7.5)), (0.4, 0.7, (60, 20)), (-0.3, 1.3, (5, 50))]
)
def test_an_aligned_face_has_its_five_points_in_their_places(how):
    aligned = faces.align(*face_with_dots(*how))
    assert aligned.shape == (112, 112, 3) and aligned.dtype == np.uint8
    y, x = np.mgrid[:112, :112] + 0.5
    for px, py in faces.ALIGNED_PX:
        near = np.hypot(x - px, y - py) < 7
        weight = aligned[..., 0] * near
        centre = (weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()
        np.testing.assert_allclose(centre, (px, py), atol=0.05)


def test_the_cosine_of_features_and_what_has_no_face():
    known = {1.0: [3.0, 4], 0.5: [8, -6], 0.0: [np.nan, np.nan], -1.0: [-30, -40]}
    features = lambda pictures: np.array([known[float(p[0, 0, 0])] for p in pictures])
    metric = csim.make(csim.Network("drawn", {"file": "hash"}, features))
    show = lambda *levels: [np.full((2, 2, 3), level) for level in levels]
    score = metric(show(1.0, 0.5, 0.0, -1.0), show(1.0))
    np.testing.assert_allclose(score.values, [1, 0, np.nan, -1], atol=1e-12)
    counts = {"pairs": 4, "images_without_face": 1, "persons_without_face": 0}
    assert (score.name, score.weights, score.counts) == ("csim[drawn]", {"file": "hash"}, counts)


@pytest.mark.parametrize("name", ["arcface_ir_se50", "faceplugin"])
def test_a_network_without_its_file_says_which_and_where(name, tmp_path):
    with pytest.raises(UserError, match=rf"csim\[{name}\] needs the file {name}.*none is named"):
        csim.NETWORKS[name]({})
    with pytest.raises(UserError, match="there is no file"):
        csim.NETWORKS[name]({name: str(tmp_path / "absent")})


@pytest.mark.parametrize(("name", "module"), [("faceplugin", "onnxruntime"), ("dlib", "dlib")])
def test_a_package_that_is_not_installed_is_named(name, module, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=f"needs the module {module}.*pip install"):
        csim.NETWORKS[name]({name: str(tmp_path / "file")})


@pytest.fixture
def detector(monkeypatch):
    """Finds the face that was drawn last, and none in a black picture."""
    found = Detector()
    monkeypatch.setattr(faces, "landmark_network", lambda: found)
    return found


def test_faceplugin_s_network_reads_aligned_faces_as_it_was_trained(
    detector, tmp_path, monkeypatch
):
    read = []

    class Session:
        def __init__(self, path, providers):
            self.path = path

        def get_inputs(self):
            return [types.SimpleNamespace(name="data")]

        def run(self, outputs, given):
            read.append(given["data"])
            return [np.arange(512.0)[None]]

    monkeypatch.setitem(sys.modules, "onnxruntime", types.SimpleNamespace(InferenceSession=Session))
    (tmp_path / "fr.onnx").write_bytes(b"weights")
    network = csim.faceplugin({"faceplugin": str(tmp_path / "fr.onnx")})
    _, points = face_with_dots(0, 0.4, (10, 10))
    shown = detector.picture(points)
    features = network.features([shown, detector.picture(None)])
    np.testing.assert_array_equal(features[0], np.arange(512))
    assert np.isnan(features[1]).all() and len(read) == 1
    expected = (faces.align(shown, points).astype(np.float32) - 127) / 128
    np.testing.assert_array_equal(read[0], expected.transpose(2, 0, 1)[None])


def test_arcface_judges_aligned_faces_with_the_weights_of_its_file(detector, tmp_path, monkeypatch):
    small = identity.IdentityNet(settings.Trunk(channels=(4, 4), units=(1, 1)))
    monkeypatch.setattr(csim, "IdentityNet", lambda: small)
    network = pure(small)
    drawn = draw(network.init, jnp.zeros((1, 112, 112, 3)))
    path = str(tmp_path / "identity.safetensors")
    weights.save_exact(path, drawn, settings.preset("tiny"), {}, "identity")
    _, points = face_with_dots(0.2, 0.3, (10, 10))
    shown = detector.picture(points)
    judge = csim.arcface_ir_se50({"arcface_ir_se50": path})
    face = faces.align(shown, points)[None].astype(np.float32) / 127.5 - 1
    expected = jax.jit(network.apply)(drawn, face)
    np.testing.assert_allclose(judge.features([shown]), expected, atol=2e-6)
    assert set(judge.weights) == {"identity.safetensors", *faces.detector_files()}


def test_dlib_s_network_reads_the_largest_face_that_dlib_finds(tmp_path, monkeypatch):
    """With stand-ins for dlib and its models: what is handed from one to the next."""
    for name in ("points", "network"):
        (tmp_path / name).write_bytes(name.encode())
    boxes = [types.SimpleNamespace(area=lambda size=size: size) for size in (20, 50, 30)]
    monkeypatch.setitem(
        sys.modules,
        "dlib",
        types.SimpleNamespace(
            get_frontal_face_detector=lambda: lambda picture, up: boxes if picture.any() else [],
            shape_predictor=lambda path: lambda picture, box: box.area(),
            get_face_chip=lambda picture, points, size: (points, size),
            face_recognition_model_v1=lambda path: types.SimpleNamespace(
                compute_face_descriptor=lambda chip: [*chip] * 64
            ),
        ),
    )
    models = types.SimpleNamespace(
        pose_predictor_five_point_model_location=lambda: str(tmp_path / "points"),
        face_recognition_model_location=lambda: str(tmp_path / "network"),
    )
    monkeypatch.setitem(sys.modules, "face_recognition_models", models)
    network = csim.dlib({})
    found = network.features(np.array([np.zeros((8, 8, 3)), -np.ones((8, 8, 3))]))
    np.testing.assert_array_equal(found[0], [50, 150] * 64)
    assert np.isnan(found[1]).all() and set(network.weights) == {"points", "network"}
