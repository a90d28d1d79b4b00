"""Checks that read a small part of every frame: pictures seen twice, faces that change.

Each check gets what `SUMMARIES` keeps of every frame, and gives pairs of a frame and a problem.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float

from invertavatar_jax.data.doctor.arrays import identity
from invertavatar_jax.data.doctor.findings import Problem
from invertavatar_jax.data.doctor.frame_files import Picture, clip_of
from invertavatar_jax.data.doctor.survey import is_numbered

OTHER_PERSON = 0.5  # of the identity's size: a clip shares one identity, or nearly


def image_is_no_copy(digests: Mapping[str, bytes]) -> Iterator[tuple[str, Problem]]:
    """No picture is there twice."""
    first: dict[bytes, str] = {}
    for frame, digest in digests.items():
        if (other := first.setdefault(digest, frame)) != frame:
            yield frame, Problem("content", "a picture of its own", f"that of {other}", "drop it")


def identity_stays_within_a_clip(
    identities: Mapping[str, Float[np.ndarray, "150"]],
) -> Iterator[tuple[str, Problem]]:
    """A clip's numbered frames show one person."""
    clips = defaultdict(list)
    for frame in filter(is_numbered, identities):
        clips[clip_of(frame)].append(frame)
    for clip, names in clips.items():
        usual = np.median([identities[name] for name in names], axis=0)
        size = max(float(np.linalg.norm(usual)), 1.0)
        for name in names:
            apart = float(np.linalg.norm(identities[name] - usual))
            if apart > OTHER_PERSON * size:
                expected = f"that of clip {clip}, within {OTHER_PERSON:.0%}"
                fix = "fit one identity to the clip, or split the clip"
                yield name, Problem("identity", expected, f"{apart / size:.0%} away", fix)


def _digest(image: Picture) -> bytes:
    return hashlib.blake2b(image.levels.tobytes(), digest_size=16).digest()


# check: the part it reads, and what is kept of it
CHECKS = {
    image_is_no_copy: ("image", _digest),
    identity_stays_within_a_clip: ("coefficients", identity),
}
