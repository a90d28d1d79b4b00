"""Scores images of an avatar, and of methods without networks, against tracked frames."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from invertavatar_jax import frames
from invertavatar_jax.avatar import Avatar, Observation, observations
from invertavatar_jax.metrics import baselines, image, masks

if TYPE_CHECKING:
    from invertavatar_jax.cli.options import Loaded
    from invertavatar_jax.types import FaceFit

Picture = Float[np.ndarray, "h w 3"]
DIGITS = 4


class Truth(NamedTuple):
    """A tracked frame at the model's size, and where it is compared."""

    seen: Observation
    image: Picture  # in [-1, 1]
    face: Bool[np.ndarray, "h w"]
    head: Bool[np.ndarray, "h w"]


def truth(track: "FaceFit", which: int, side: int) -> Truth:
    """Frame `which` of a track, which shows a face."""
    seen = observations(track, [which])[0]
    crop = track.image[which]
    small = Image.fromarray(crop).resize((side, side), Image.Resampling.BOX)
    inside = masks.recorded(crop, side)
    landmarks = track.landmarks_px[which]
    return Truth(
        seen,
        np.asarray(small, np.float32) / 127.5 - 1,
        masks.face(landmarks, crop.shape[0], side) & inside,
        masks.head(track.matte[which], landmarks, side) & inside,
    )


def figures(shown: Picture, truth: Truth) -> dict[str, float]:
    """psnr_face and psnr_head in dB, and the head's l1 in [0, 1]; without empty masks."""
    found = {}
    if truth.face.any():
        found["psnr_face"] = image.psnr(shown, truth.image, truth.face)
    if truth.head.any():
        found["psnr_head"] = image.psnr(shown, truth.image, truth.head)
        found["l1"] = image.l1(shown, truth.image, truth.head)
    return found


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float | None]:
    """The mean of every figure over the frames that have it; None where none has."""
    names = ("psnr_face", "psnr_head", "l1")
    columns = {name: [row[name] for row in rows if name in row] for name in names}
    return {k: round(float(np.mean(v)), DIGITS) if v else None for k, v in columns.items()}


def drawers(
    loaded: "Loaded", avatar: Avatar, track: "FaceFit", which: Sequence[int]
) -> dict[str, Callable[[Truth], Picture]]:
    """How each method draws a frame: "avatar", "mean_colour" and "textured_mesh".

    Args:
        which: frames of the track that the avatar was made from; the others use the same.
    """
    model = loaded.model
    geometry = frames.geometry(model.head, model.sizes)
    made = [frames.make_frame(geometry, seen) for seen in observations(track, which)]
    sources = [frame for frame, _ in made]
    colour = baselines.mean_colour(sources)
    texture, behind = baselines.texture(sources), sources[0].image[0]

    def draw_avatar(truth: Truth) -> Picture:
        seen = truth.seen
        return np.asarray(model.render(avatar, seen.expression, seen.camera, seen.gaze_rad))

    def draw_mesh(truth: Truth) -> Picture:
        seen = truth.seen
        batch = lambda x: np.asarray(x)[None]
        vertices, _ = geometry.deform(
            batch(seen.identity), batch(seen.expression), batch(seen.gaze_rad)
        )
        return baselines.draw_textured_mesh(model.head, texture, vertices[0], seen.camera, behind)

    return {
        "avatar": draw_avatar,
        "mean_colour": lambda truth: np.broadcast_to(colour, truth.image.shape),
        "textured_mesh": draw_mesh,
    }
