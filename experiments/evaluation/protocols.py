"""The paper's evaluations as data: which frames make an avatar, and which ones it is scored on."""

import dataclasses
from typing import NamedTuple

import numpy as np

CURVE = (1, 2, 4, 8, 16, 32)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Numbers are the paper's; data that is smaller gives less, and the result says how much.

    Attributes:
        data: the set in the paper.
        clips: clips or photos that avatars are made of.
        driven_by: "itself", "another" of the clips, "others", a set of clips of its own, or "the
            source", where the avatar is scored on its only source.
        drivers: clips that drive each of them.
        pool: frames of a clip, from its beginning, that sources are picked from.
        counts: numbers of source frames, each an avatar of its own.
        order: of the sources: "even" and in time, "first" ones, or "random".
        scored: first and last + 1 of the driving frames, of a clip of `length` frames.
        length: frames of a clip.
        source: where the numbers stand.
    """

    data: str
    clips: int
    driven_by: str
    drivers: int
    pool: int
    counts: tuple[int, ...]
    order: str
    scored: tuple[int, int]
    length: int
    source: str


_ONE_PHOTO = Protocol(
    data="HDTF, test split",
    clips=19,
    driven_by="itself",
    drivers=1,
    pool=1,
    counts=(1,),
    order="even",
    scored=(1, 501),
    length=501,
    source="paper 4.2.2: the first frame, driven by the next 500; footnote 4: 19 videos",
)
# the numbers of source frames are ours: the paper's text has none
_SEVERAL_FRAMES = Protocol(
    data="VFHQ, 100 test clips",
    clips=100,
    driven_by="itself",
    drivers=1,
    pool=200,
    counts=(1, 4, 8, 16),
    order="even",
    scored=(200, 300),
    length=300,
    source="paper 4.2.3",
)
PROTOCOLS = {
    "self_reenactment": _ONE_PHOTO,
    "cross_identity": dataclasses.replace(
        _ONE_PHOTO,
        clips=18,
        driven_by="another",
        scored=(0, 200),
        length=200,
        source="paper 4.2.2: the first 200 frames of one clip drive the first frame of others",
    ),
    "celeba_cross": dataclasses.replace(
        _ONE_PHOTO,
        data="CelebA-HQ, driven by HDTF and VFHQ",
        clips=1000,
        driven_by="others",
        drivers=25,
        scored=(0, 4),
        length=4,
        source="paper 4.2.2: 100,000 images of 1,000 photos and 25 clips, so 4 of each pair",
    ),
    "few_shot": _SEVERAL_FRAMES,
    "frames_curve": dataclasses.replace(
        _SEVERAL_FRAMES, counts=CURVE, source="paper 4.3.1, Fig. 6"
    ),
    "frames_curve_unordered": dataclasses.replace(
        _SEVERAL_FRAMES, counts=CURVE, order="random", source="paper B.1, Fig. 12"
    ),
    "stream": dataclasses.replace(
        _SEVERAL_FRAMES,
        data="clips of 8 frames, and a frame after them",
        clips=3,
        pool=8,
        counts=(4, 8),
        order="first",
        scored=(8, 12),
        length=12,
        source="paper 4.3.1, Fig. 5; the numbers of clips and of later frames are ours",
    ),
    "prior": dataclasses.replace(
        _ONE_PHOTO,
        data="100 random identities, driven by FFHQ",
        clips=100,
        driven_by="others",
        scored=(0, 100),
        length=100,
        source="paper 4.2.1: 100 images drive each of 100 identities; here frames of a clip",
    ),
    "portraits": dataclasses.replace(
        _ONE_PHOTO,
        data="CelebA-HQ",
        clips=1000,
        driven_by="the source",
        scored=(0, 1),
        length=1,
        source="paper Table 4: 1,000 images, each reconstructed from itself",
    ),
}


class Trial(NamedTuple):
    """One avatar and what it is driven by."""

    person: int  # clip that the sources are frames of
    sources: tuple[int, ...]
    driver: int  # clip that drives
    frames: tuple[int, ...]


def shrink(protocol: Protocol, clips: int, length: int) -> Protocol:
    """The protocol for fewer clips, of fewer frames: pool and scored part keep their shares.

    Numbers of source frames that the pool does not have are left out; if that are all, the whole
    pool is taken.

    Raises:
        ValueError: too few frames for a source and another one to score.
    """
    scale = min(1.0, length / protocol.length)
    length, alone = min(length, protocol.length), protocol.driven_by == "itself"
    if length < 1 + alone:
        raise ValueError(f"got clips of {length} frames, expected at least {1 + alone}")
    pool = min(max(1, round(scale * protocol.pool)), length - alone)
    first, last = (round(scale * n) for n in protocol.scored)
    first = max(first, pool) if alone else first
    return dataclasses.replace(
        protocol,
        clips=min(protocol.clips, clips),
        pool=pool,
        counts=tuple(n for n in protocol.counts if n <= pool) or (pool,),
        scored=(first, max(last, first + 1)),
        length=length,
    )


def trials(protocol: Protocol, people: int, drivers: int, *, seed: int, most: int) -> list[Trial]:
    """Every avatar of the protocol with every clip that drives it.

    Args:
        people: clips or photos that there are; some are drawn where the protocol wants fewer.
        drivers: clips of the set "others".
        most: frames scored per trial, evenly spread over the scored part.
    """
    rng = np.random.default_rng(seed)
    frames, order = _spread(protocol.scored, most), rng.permutation(people).tolist()
    if protocol.driven_by == "another":
        driving, order = order[: protocol.drivers], order[protocol.drivers :]
    else:
        driving = rng.permutation(drivers)[: protocol.drivers].tolist()
    found = []
    for person in sorted(order[: protocol.clips]):
        for count in protocol.counts:
            sources = pick_sources(protocol, count, rng)
            alone = protocol.driven_by in ("itself", "the source")
            by = [person] if alone else driving
            found += [Trial(person, sources, driver, frames) for driver in by]
    return found


def pick_sources(protocol: Protocol, count: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Frames of the pool: evenly spread from the first one on, the first, or drawn at random."""
    if protocol.order == "first":
        return tuple(range(count))
    if protocol.order == "random":
        return tuple(rng.permutation(protocol.pool)[:count].tolist())
    return tuple(i * protocol.pool // count for i in range(count))


def _spread(span: tuple[int, int], most: int) -> tuple[int, ...]:
    first, last = span
    count = min(most, last - first)
    return tuple(first + i * (last - first) // count for i in range(count))
