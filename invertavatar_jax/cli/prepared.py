"""Avatars from data in the released layout, whose maps stand in for tracking and drawing."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from invertavatar_jax import film as films
from invertavatar_jax import frames
from invertavatar_jax.avatar import Avatar
from invertavatar_jax.cli.console import Console
from invertavatar_jax.cli.options import Loaded
from invertavatar_jax.data import prepared, released
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import picture
from invertavatar_jax.fit import camera, faceverse
from invertavatar_jax.types import Camera, Drive

FRAMES_PER_SECOND = 25.0  # the layout does not say
SAME_PERSON = 1e-3  # coefficients of one person differ by less

Picture = UInt8[np.ndarray, "h w 3"]


class Data(NamedTuple):
    """Frames of one person in the released layout."""

    stored: released.Released
    numbers: list[int]

    @property
    def names(self) -> list[str]:
        """clip/frame.png of each."""
        return [self.stored.labels[i][0] for i in self.numbers]


def find(sources: Sequence[str], loaded: Loaded, console: Console) -> Data | None:
    """The frames that the sources name, where they are data in the released layout.

    Clips inside a data set are plain folders of photos for weights that do not read the layout.

    Raises:
        UserError: the data set is damaged or names several people, or the weights cannot read it.
    """
    places = [prepared.locate(source) for source in sources]
    known = [place for place in places if place is not None]
    if not known:
        return None
    try:
        prepared.check_reads(loaded.model.sizes)
    except UserError:
        if all(place.part for place in known):
            return None
        raise
    if len(known) < len(places) or len({place.root for place in known}) > 1:
        raise UserError(
            "Several sources must all be frames of one data set in the released layout."
        )
    with console.step("read data"):
        stored = released.Released(known[0].root)
        return Data(stored, prepared.numbers(stored, [place.part for place in known]))


def reconstruct(
    loaded: Loaded, data: Data, most: int, console: Console
) -> tuple[Avatar, dict[str, Any], dict[str, Any]]:
    """Makes an avatar of at most `most` frames, evenly spread.

    Returns:
        The avatar, what its file says about it, and how well it shows its own sources.
    """
    count = min(most, len(data.numbers))
    which = [i * len(data.numbers) // count for i in range(count)]
    chosen = data._replace(numbers=[data.numbers[i] for i in which])
    sizes, uv_mask = loaded.model.sizes, prepared.read_uv_mask(data.stored.root)
    if uv_mask is None:
        console.say(
            f"note: {data.stored.root} has no {prepared.UV_MASK}; all visible texels count fully"
        )
    with console.step("read frames"):
        records = [data.stored[i] for i in console.each("read frames", chosen.numbers, count)]
        seen = [prepared.prepare(record, sizes, uv_mask) for record in records]
    with console.step("reconstruct"):
        avatar = loaded.model.reconstruct(seen)
    details = _describe(loaded, chosen, records[0].camera.tolist(), which)
    masked = [r.head_matte is not None or r.matte is not None for r in records]
    return avatar, details, _score(loaded, avatar, seen, masked, console)


def film(
    loaded: Loaded, avatar: Avatar, data: Data, console: Console, which: Sequence[int]
) -> Iterator[Picture]:
    """The avatar doing what the chosen frames show.

    With FaceVerse's head model the driver's expression is drawn on the avatar's own face;
    without it the stored rasters are used as they are.

    Raises:
        UserError: the avatar was not made from data in the released layout.
    """
    known = len(avatar.identity)
    if known != faceverse.IDENTITY:
        raise UserError(
            f"The avatar's face is described by {known} numbers; data in the released "
            f"layout drives avatars that were made from such data, which have {faceverse.IDENTITY}."
        )
    numbers = [data.numbers[i] for i in which]
    drives = ((drive, 1) for drive in _drives(loaded, avatar, data, numbers, console))
    for image in console.each("render", films.show(loaded.model, avatar, drives), len(numbers)):
        yield picture.to_uint8(image)


def _drives(
    loaded: Loaded, avatar: Avatar, data: Data, numbers: Sequence[int], console: Console
) -> Iterator[Drive]:
    model = loaded.model
    redraw = model.head.expression_names == faceverse.EXPRESSION_NAMES
    for i, number in enumerate(numbers):
        record = data.stored.driving(number)
        if redraw:
            yield _redrawn(loaded, avatar, record)
            continue
        other = faceverse.split(record.coefficients).identity - np.asarray(avatar.identity)
        if i == 0 and np.abs(other).max() > SAME_PERSON:
            console.say(
                "note: the driver is another person than the avatar's, and the stored rasters "
                "carry the shape of the driver's face; --head faceverse_v3_1.npy redraws them"
            )
        yield prepared.drive(record, model.sizes)


def _redrawn(loaded: Loaded, avatar: Avatar, record: released.Record) -> Drive:
    """The record's expression on the avatar's own face."""
    fitted, head = faceverse.split(record.coefficients), loaded.model.head
    one = lambda x: np.asarray(x)[None]
    moved, gaze = faceverse.limit_driving(fitted.expression), faceverse.gaze(head, fitted.eyes)
    seen = Camera(*map(one, camera.from_vector(record.camera)))
    return loaded.model.drives(avatar, one(moved), one(gaze), seen)


def pictures(data: Data) -> list[Picture]:
    """The frames' own pictures."""
    return [data.stored.driving(number).image for number in data.numbers]


def _describe(loaded: Loaded, data: Data, camera: list[float], which: list[int]) -> dict[str, Any]:
    from invertavatar_jax.cli import people

    return {
        **people.describe_model(loaded),
        "sources": data.names,
        "frames": which,
        "camera": camera,
    }


def _score(
    loaded: Loaded,
    avatar: Avatar,
    seen: Sequence[frames.Prepared],
    masked: Sequence[bool],
    console: Console,
) -> dict[str, float | None]:
    """psnr_head and l1 of the avatar's own frames, inside the stored masks where there are any."""
    from invertavatar_jax.cli import scoring
    from invertavatar_jax.metrics import image as metrics

    rows = []
    with console.step("score"):
        for own, has_mask in zip(seen, masked, strict=True):
            truth = np.asarray(own.frame.image[0])
            head = np.asarray(own.frame.matte[0, ..., 0] >= 0.5) & has_mask
            shown = np.asarray(loaded.model.draw(avatar, own.frame.drive)[0])
            row = {"psnr_head": metrics.psnr(shown, truth, head) if head.any() else None}
            row["l1"] = metrics.l1(shown, truth, head) if head.any() else None
            rows.append({name: value for name, value in row.items() if value is not None})
    return scoring.mean(rows)
