"""What the verbs do with people: track them, reconstruct them, film their avatars."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from invertavatar_jax import film as films
from invertavatar_jax import motion
from invertavatar_jax.cli.console import Console
from invertavatar_jax.cli.options import Loaded
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import picture, tracks, video
from invertavatar_jax.metrics import image as metrics
from invertavatar_jax.types import Camera, FaceFit

if TYPE_CHECKING:
    from invertavatar_jax.avatar import Avatar
    from invertavatar_jax.fit.track import Report

COMPARED = 3  # frames of a preview that are also rendered exactly

Picture = UInt8[np.ndarray, "h w 3"]


def get_track(
    sources: Sequence[Any], args: argparse.Namespace, console: Console, name: str = "track"
) -> FaceFit:
    """Tracks one clip, one folder or some photos of a person; or reads one saved track.

    Raises:
        UserError: unreadable sources, or no face in them.
    """
    if len(sources) == 1 and tracks.is_track(sources[0]):
        with console.step(f"read {name}"):
            return tracks.read_track(sources[0])
    if any(tracks.is_track(source) for source in sources):
        raise UserError("Several sources must all be photos; a track stands alone.")
    return make_track(sources, args, console, name)[0]


def make_track(
    sources: Sequence[Any], args: argparse.Namespace, console: Console, name: str = "track"
) -> tuple[FaceFit, "Report"]:
    """Tracks a clip, a folder or photos; says what is worth knowing about them.

    Raises:
        UserError: unreadable sources, or no face in them.
    """
    with console.step(name), console.stages() as progress:
        from invertavatar_jax.fit import track

        found, report = track.fit(
            sources[0] if len(sources) == 1 else list(sources),
            face=args.face,
            allow_truncated=args.allow_truncated,
            progress=progress,
        )
    for note in report["warnings"]:
        console.say(f"note: {note}")
    return found, report


def spread(track: FaceFit, most: int) -> list[int]:
    """At most `most` frames with a face, evenly over the track, the first one included."""
    seen = np.flatnonzero(track.has_face)
    count = min(most, len(seen))
    return [int(i) for i in seen[np.arange(count) * len(seen) // max(count, 1)]]


def first_camera(track: FaceFit) -> Camera:
    """The camera of the first frame that shows a face."""
    first = int(np.flatnonzero(track.has_face)[0])
    return Camera(*(np.asarray(values)[first] for values in track.camera))


def film(
    loaded: Loaded, avatar: "Avatar", moves: motion.Motion, console: Console
) -> Iterator[Picture]:
    """Renders the avatar frame by frame.

    Raises:
        UserError: the avatar is of another head model.
    """
    known = len(loaded.model.head.identity)
    if len(avatar.identity) != known:
        raise UserError(
            f"The avatar's face has {len(avatar.identity)} numbers, and this head model takes "
            f"{known}: give its own with --head, or drive it with data in the released layout."
        )
    images = films.film(loaded.model, avatar, moves)
    for image in console.each("render", images, len(moves.expression)):
        yield picture.to_uint8(image)


def write_films(
    path: Path, shown: Iterable[Picture], beside: Sequence[Picture] | None, frames_per_second: float
) -> dict[str, Any]:
    """Writes the avatar's video and, where there is a driver or source, one beside it.

    Args:
        path: of the side by side video, or of the only one.
        shown: written as they come.
        beside: one picture for every frame, or one for all.
    """
    if beside is None:
        count = video.write_video(path, shown, frames_per_second)
        return {"video": str(path), "frames": count}
    alone = path.with_name(f"{path.stem}_alone{path.suffix}")
    with (
        video.open_video(path, frames_per_second) as add_pair,
        video.open_video(alone, frames_per_second) as add_alone,
    ):
        count = 0
        for image in shown:
            left = picture.resize(beside[count % len(beside)], image.shape[0])
            add_pair(picture.side_by_side([left, image]))
            add_alone(image)
            count += 1
    return {"video": str(path), "video_alone": str(alone), "frames": count}


def use_preview(
    loaded: Loaded,
    make: Callable[[Loaded, Sequence[int]], Iterator[Picture]],
    count: int,
    console: Console,
) -> tuple[Loaded, dict[str, float]]:
    """The model's preview, and how near it comes to the exact images: mean PSNR of a few frames.

    Args:
        make: renders frames of a film, by number.
        count: of the film's frames.
    """
    faster = loaded._replace(model=loaded.model.preview())
    which = np.unique(np.linspace(0, count - 1, COMPARED).round().astype(int)).tolist()
    with console.step("compare with the exact image"):
        pairs = zip(make(faster, which), make(loaded, which), strict=True)
        psnr = [_psnr(near, exact) for near, exact in pairs]
    return faster, {"psnr_to_exact": round(float(np.mean(psnr)), 2)}


def _psnr(image: Picture, truth: Picture) -> float:
    near, exact = (picture / np.float32(127.5) - 1 for picture in (image, truth))
    return metrics.psnr(near, exact, np.ones(truth.shape[:2], bool))


def reconstruct(loaded: Loaded, track: FaceFit, which: Sequence[int], console: Console) -> "Avatar":
    """Folds the chosen frames into an avatar, one by one.

    Raises:
        UserError: the networks know another head model than the one that was tracked.
    """
    from invertavatar_jax import avatar as avatars

    if (head := loaded.facts.get("head")) is not None:
        raise UserError(
            f"{loaded.weights_path} holds networks that know the texture layout of {head}, and "
            "photos are tracked with the head of this package: give data in the released layout "
            "(docs/data_layout.md)."
        )

    with console.step("reconstruct"):
        stream = None
        seen = avatars.observations(track, which)
        for observation in console.each("reconstruct", seen, len(seen)):
            stream = loaded.model.observe(stream, observation)
        assert stream is not None  # observations raises when there is no face
        return loaded.model.finish(stream)


def describe(
    loaded: Loaded, track: FaceFit, sources: Sequence[str], which: Sequence[int]
) -> dict[str, Any]:
    """What an avatar file says about itself."""
    from invertavatar_jax.fit import camera

    return {
        **describe_model(loaded),
        "sources": list(sources),
        "frames": [int(track.frame_index[i]) for i in which],
        "camera": camera.to_vector(first_camera(track)).tolist(),
    }


def describe_model(loaded: Loaded) -> dict[str, Any]:
    """What an avatar file says about the model that made it."""
    from invertavatar_jax import __version__, settings

    sizes = loaded.model.sizes
    known = [name for name, preset in settings.PRESETS.items() if preset == sizes]
    return {
        "program_version": __version__,
        "preset": known[0] if known else "custom",
        "weights_sha256": loaded.weights_sha256,
    }


def open_avatar(path: str, loaded: Loaded, console: Console) -> tuple["Avatar", Camera]:
    """Reads an avatar of this model, and the camera that saw its first frame.

    Raises:
        UserError: no whole avatar file, or one of other weights.
    """
    with console.step("read avatar"):
        from invertavatar_jax.export import avatars
        from invertavatar_jax.fit import camera

        avatar, details = avatars.read_avatar(path)
        avatars.check_made_by(details, loaded.weights_sha256, path)
        return avatar, camera.from_vector(np.asarray(details["camera"], np.float32))


def score_sources(
    loaded: Loaded, avatar: "Avatar", track: FaceFit, which: Sequence[int], console: Console
) -> tuple[dict[str, float | None], list[Picture]]:
    """Shows the avatar as in the frames it was made from: psnr_face, psnr_head, l1, pictures."""
    with console.step("score"):
        from invertavatar_jax.cli import scoring

        side, model = loaded.model.sizes.renderer.image_resolution, loaded.model
        rows, shown = [], []
        for index in console.each("score", which, len(which)):
            truth = scoring.truth(track, index, side)
            seen = truth.seen
            image = model.render(avatar, seen.expression, seen.camera, seen.gaze_rad)
            rows.append(scoring.figures(np.asarray(image), truth))
            shown.append(picture.to_uint8(np.asarray(image)))
        return scoring.mean(rows), shown
