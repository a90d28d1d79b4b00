"""A patch of the face that the first frame alone shows: is it still there many frames later?

Two clips differ in nothing but the colour of the patch in their first frame. All later frames
show a grey cover on it. What differs between their avatars is what is remembered of the patch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from matplotlib.axes import Axes
from scipy import ndimage

from experiments.long_sequences.study import Part, Row, Sitting, State, Study, by, curves, mean
from experiments.long_sequences.systems import Reading, distance
from invertavatar_jax.frames import Prepared

SHARE = 8  # the patch's side is this part of the UV map's
PAINT = (-1.0, 0.8, -1.0)  # green, which no face is
COVER = (0.0, 0.0, 0.0)  # grey
MEASURES = ("features", "image without colours", "image")
UNSEEN = 1.0  # what uv_rgb is where nothing is seen


class Patch(NamedTuple):
    """A square of the UV map."""

    inside: Bool[np.ndarray, "u u"]

    @classmethod
    def choose(cls, visible: Float[Array, "1 u u 1"]) -> "Patch":
        """The square that is seen best; of equal ones that nearest to the map's middle."""
        seen = np.asarray(visible)[0, ..., 0]
        side = len(seen)
        width = max(1, side // SHARE)
        rows, columns = np.indices(seen.shape)
        far = np.hypot(rows - side / 2, columns - side / 2) / side
        best = ndimage.uniform_filter(seen, width, mode="constant") - 1e-3 * far
        middle = np.unravel_index(np.argmax(best), best.shape)
        inside = np.zeros(seen.shape, bool)
        first = [max(0, int(at) - width // 2) for at in middle]
        inside[first[0] : first[0] + width, first[1] : first[1] + width] = True
        return cls(inside)

    def paint(self, seen: Prepared) -> Prepared:
        """The patch has another colour, in the photo and in the UV map."""
        frame = self._on_photo(seen, PAINT).frame
        here = jnp.asarray(self.inside)[None, ..., None] & (frame.uv_visible > 0)
        uv_rgb = jnp.where(here, jnp.asarray(PAINT), frame.uv_rgb)
        return seen._replace(frame=frame._replace(uv_rgb=uv_rgb))

    def cover(self, seen: Prepared) -> Prepared:
        """The patch is hidden: grey in the photo, unseen in the UV map."""
        frame = self._on_photo(seen, COVER).frame
        here = jnp.asarray(self.inside)[None, ..., None]
        uv_rgb = jnp.where(here, UNSEEN, frame.uv_rgb)
        visible = jnp.where(here, 0.0, frame.uv_visible)
        return seen._replace(frame=frame._replace(uv_rgb=uv_rgb, uv_visible=visible))

    def _on_photo(self, seen: Prepared, colour: tuple[float, ...]) -> Prepared:
        frame = seen.frame
        side = frame.image.shape[1]
        texels = self.inside & (np.asarray(frame.uv_visible)[0, ..., 0] > 0)
        x, y = np.asarray(frame.uv_xy)[0][texels].T
        pixel = lambda at: np.clip(((at + 1) / 2 * side).astype(int), 0, side - 1)
        marked = np.zeros((side, side), bool)
        marked[pixel(y), pixel(x)] = True
        marked = ndimage.binary_closing(marked, np.ones((3, 3)))  # texels may miss a pixel
        image = jnp.where(marked[None, ..., None], jnp.asarray(colour), frame.image)
        return seen._replace(frame=frame._replace(image=image))


def run(study: Study) -> list[Row]:
    """What is left of the difference between both avatars.

    `features` is the distance of their canonical features, the others the mean difference of
    their images as the first frame shows them, each in parts of what it was at once.
    """
    rows, remembered = [], study.amounts.remembered
    for sitting in study.sittings("memory"):
        person, system = sitting.person, sitting.system
        patch = Patch.choose(person.frame(0).frame.uv_visible)
        read = lambda seen, sitting=sitting: sitting.system.read(sitting.begun, seen)
        plain, painted = (read(x) for x in (person.frame(0), patch.paint(person.frame(0))))
        states = [system.fold(State(), first) for first in (plain, painted)]
        begun: dict[str, float] | None = None
        for after in range(remembered[-1] + 1):
            if after:
                covered: Reading = read(patch.cover(person.frame(after)))
                states = [system.fold(state, covered) for state in states]
            if after in remembered:
                left = _difference(sitting, states)
                begun = left if begun is None else begun
                row = {"system": system.name, "person": person.name, "after": after}
                rows.append(row | {key: left[key] / begun[key] for key in MEASURES})
    return rows


def _difference(sitting: Sitting, states: Sequence[State]) -> dict[str, float]:
    maps = [sitting.maps(state)[0] for state in states]
    drive = sitting.person.frame(0).frame.drive

    def apart(states: Sequence[State]) -> float:
        draw = lambda made, state: sitting.system.draw(sitting.begun, made, state, drive)
        one, other = (draw(*pair) for pair in zip(maps, states, strict=True))
        return float(np.abs(one - other).mean())

    bare = [sitting.system.without_colours(state) for state in states]
    return dict(zip(MEASURES, (distance(*maps), apart(bare), apart(states)), strict=True))


def answer(rows: Sequence[Row]) -> str:
    """What each system remembers at the end."""
    last = rows[-1]["after"]
    ends = {name: by(some, "after")[last] for name, some in by(rows, "system").items()}
    share = lambda name, value: f"{mean(ends[name], value).mean:.0%}"
    said = [f"{name} {', '.join(share(name, value) for value in MEASURES)}" for name in ends]
    return (
        f"{last} frames after a patch was last seen, this is left of its effect on the features, "
        "on the image that they give alone, and on the whole image with the observed colours: "
        f"{'; '.join(said)}."
    )


def draw(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Both parts over the frames since."""
    for axis, value in zip(axes, MEASURES, strict=True):
        curves(axis, rows, "after", value)
        axis.set_ylim(bottom=0)
    axes[0].legend(fontsize=7)


PART = Part(
    "A patch is seen in the first frame alone: how much of it does the avatar still show?",
    run,
    answer,
    (
        "left in the canonical features",
        "left in the image without observed colours",
        "left in the image",
    ),
    draw,
)
