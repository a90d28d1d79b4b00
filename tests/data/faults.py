"""A small clean data set in the released layout, and one fault of every kind to plant in it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from invertavatar_jax import frames, settings
from invertavatar_jax.data import released
from invertavatar_jax.data.released import (
    COEFFICIENTS,
    CONTOURS,
    HEADS,
    IMAGES,
    LABELS,
)
from invertavatar_jax.data.synthetic import motion, scene
from invertavatar_jax.fit import camera, morphable
from invertavatar_jax.types import Camera

SIDE, FRAMES, CLIPS = 512, 3, ("anna", "bert")
FRAME = "anna/00001"  # where most faults are planted
Array = np.ndarray


def write_clean(root: Path) -> None:
    """Writes two clips of heads before clouds of colour; labels included."""
    head = morphable.load_head_model()
    geometry = frames.geometry(head, settings.preset("paper"))
    for seed, name in enumerate(CLIPS):
        released.write_clip(root, name, draw_clip(np.random.default_rng([5, seed]), head), geometry)
        for frame in range(FRAMES):  # stand-ins: the doctor looks at their form alone
            picture = Image.open(root / HEADS / name / f"{frame:05d}.png").convert("RGB")
            (root / CONTOURS / name).mkdir(parents=True, exist_ok=True)
            picture.save(root / CONTOURS / name / f"{frame:05d}.png")
    released.write_labels(root)


def draw_clip(
    rng: np.random.Generator, head: morphable.HeadModel, count: int = FRAMES
) -> scene.Clip:
    """A head in several views; the picture is noise that textures can be checked against."""
    cameras = motion.cameras(motion.sample_poses(rng, count))
    identity = rng.normal(0, 0.5, len(head.identity)).astype(np.float32)
    shape = head.template + np.tensordot(identity, head.identity, 1)
    matte = np.stack([_silhouette(shape, head.triangles, vector) for vector in cameras])
    clouds = rng.integers(20, 230, (count, 12, 12, 3), dtype=np.uint8)
    image = np.stack([_enlarge(cloud) for cloud in clouds])
    expression = rng.uniform(0, 0.3, (count, len(head.expression))).astype(np.float32)
    gaze = rng.normal(0, 0.1, (count, 4)).astype(np.float32)
    return scene.Clip(image, matte, matte, image[0], identity, expression, gaze, cameras)


def _enlarge(small: Array) -> Array:
    return np.asarray(Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _silhouette(vertices: Array, triangles: Array, vector: Array) -> Array:
    seen, _ = camera.project(Camera(*camera.from_vector(vector)), vertices)
    picture = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(picture)
    for corner in (seen * SIDE)[triangles]:
        draw.polygon([tuple(point) for point in corner], fill=255)
    return np.asarray(picture.filter(ImageFilter.MaxFilter(9)))


class Kind(NamedTuple):
    """A kind of fault: what is done to a clean data set, and what must be found."""

    words: str
    plant: Callable[[Path], None]
    check: str
    file: str  # of the fault, relative to the data set
    also: tuple[str, ...] = ()  # other checks that rightly find it too


# How things are spoilt ---------------------------------------------------------------------


def own(path: Path) -> Path:
    """A file that may be overwritten: copies of the clean set share its files by hard links."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    return path


def array(folder: str, change: Callable[[Array], Array], ending: str = ".npy", frame: str = FRAME):
    """Changes a stored array."""

    def plant(root: Path) -> None:
        path = own(root / folder / f"{frame}{ending}")
        np.save(path, change(np.load(path).copy()))

    return plant


def picture(folder: str, change: Callable[[Array], Array], ending: str = ".png"):
    """Changes a picture's levels."""

    def plant(root: Path) -> None:
        path = own(root / folder / f"{FRAME}{ending}")
        Image.fromarray(change(np.array(Image.open(path)))).save(path)

    return plant


def stored(folder: str, save: Callable[[Image.Image, Path], None], ending: str = ".png"):
    """Saves a picture in another way."""

    def plant(root: Path) -> None:
        path = own(root / folder / f"{FRAME}{ending}")
        found = Image.open(path)
        found.load()
        save(found, path)

    return plant


def labels(change: Callable[[list], list | None], files: tuple[str, ...] = LABELS):
    """Changes the entries of the labels, in place or by giving others."""

    def plant(root: Path) -> None:
        for file in files:
            path = own(root / IMAGES / file)
            entries = json.loads(path.read_text())["labels"]
            changed = change(entries)
            found = entries if changed is None else changed
            path.write_text(json.dumps({"labels": found}))

    return plant


def numbers(change: Callable[[Array], Array], files: tuple[str, ...] = (LABELS[1],)):
    """Changes the numbers of one frame's camera."""

    def edit(entries: list) -> None:
        entry = next(entry for entry in entries if entry[0] == f"{FRAME}.png")
        entry[1] = np.asarray(change(np.array(entry[1]))).tolist()

    return labels(edit, files)


def pose(change: Callable[[Array], Array], files: tuple[str, ...] = (LABELS[1],)):
    """Changes the pose of one frame's camera."""
    edit = lambda v: np.concatenate([change(v[:16].reshape(4, 4)).ravel(), v[16:]])
    return numbers(edit, files)


def lens(change: Callable[[Array], Array]):
    """Changes the intrinsics of one frame's camera."""
    edit = lambda v: np.concatenate([v[:16], change(v[16:].reshape(3, 3)).ravel()])
    return numbers(edit)


def put(index, value) -> Callable[[Array], Array]:
    """Sets some entries."""

    def change(values: Array) -> Array:
        values[index] = value
        return values

    return change


def scale(index, factor: float) -> Callable[[Array], Array]:
    """Multiplies some entries."""

    def change(values: Array) -> Array:
        values[index] *= factor
        return values

    return change


def remove(folder: str, ending: str, frame: str = FRAME):
    """Deletes a file."""
    return lambda root: (root / folder / f"{frame}{ending}").unlink()


def remove_frames(*names: str):
    """Deletes whole frames, with their labels."""

    def plant(root: Path) -> None:
        for name in names:
            for path in root.glob(f"*/{name}[._]*"):
                path.unlink()
        labels(lambda e: [x for x in e if x[0].removesuffix(".png") not in names])(root)

    return plant


def cut(folder: str, ending: str, keep: float):
    """Keeps the first part of a file."""

    def plant(root: Path) -> None:
        path = own(root / folder / f"{FRAME}{ending}")
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])

    return plant


def from_other(folder: str, ending: str, frame: str = "bert/00002"):
    """Puts another frame's file in the place."""

    def plant(root: Path) -> None:
        (root / folder / f"{FRAME}{ending}").unlink()
        shutil.copy(root / folder / f"{frame}{ending}", root / folder / f"{FRAME}{ending}")

    return plant


def link(root: Path) -> None:
    """Puts a link in a file's place."""
    path = root / COEFFICIENTS / f"{FRAME}.npy"
    path.unlink()
    path.symlink_to("00000.npy")


def as_jpeg_names(root: Path) -> None:
    """Renames a picture to .jpg, on disk and in the labels."""
    path = root / IMAGES / f"{FRAME}.png"
    Image.open(path).save(path.with_suffix(".jpg"))
    path.unlink()

    def rename(entries: list) -> None:
        for entry in entries:
            entry[0] = entry[0].replace(f"{FRAME}.png", f"{FRAME}.jpg")

    labels(rename)(root)


def rename_label(change: Callable[[str], str], files: tuple[str, ...] = (LABELS[1],)):
    """Changes the name of one entry."""

    def edit(entries: list) -> None:
        entry = next(entry for entry in entries if entry[0] == f"{FRAME}.png")
        entry[0] = change(entry[0])

    return labels(edit, files)


def drop(entries: list) -> list:
    """The entries without the frame's."""
    return [entry for entry in entries if entry[0] != f"{FRAME}.png"]


def inverse(matrix: Array) -> Array:
    """camera_from_world for world_from_camera, and back."""
    return np.linalg.inv(matrix)


def turn_axes(*signs: float) -> Callable[[Array], Array]:
    """Flips axes of the camera."""
    return lambda matrix: matrix @ np.diag([*signs, 1.0])


def blender_world(matrix: Array) -> Array:
    """The same camera in a world whose z is up."""
    turn = np.eye(4)
    turn[:3, :3] = camera.BLENDER_FROM_WORLD
    return turn @ matrix


def transposed_turn(matrix: Array) -> Array:
    """The rotation transposed, the place kept."""
    matrix[:3, :3] = matrix[:3, :3].T.copy()
    return matrix
