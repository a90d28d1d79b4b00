"""What a check says about a data set, and what a check of frames is.

A check of a frame is a plain function. Its name is the check's; its parameters' names are the
parts of the frame that it reads (frame_files.PARTS); the first one is to blame where it finds
something. A group's name as the first parameter makes it a check of each part of the group.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import NamedTuple

GROUPS = {
    "listed": ("camera", "label"),
    "array": ("raster", "uv", "coefficients", "raster_coefficients"),
    "picture": ("image", "texture", "head_mask", "person_mask", "contours"),
    "colours": ("image", "texture", "contours"),
    "mask": ("head_mask", "person_mask"),
}


class Problem(NamedTuple):
    """One thing that is not as it should be."""

    field: str
    expected: str
    found: str
    fix: str


class Fault(NamedTuple):
    """A problem, by whom it was found and where."""

    check: str
    file: str  # relative to the data set
    field: str
    expected: str
    found: str
    fix: str
    frame: str = ""  # clip/frame, where it is one's

    def sentence(self) -> str:
        """The fault in one line."""
        return (
            f"{self.file}: {self.field}: expected {self.expected}, found {self.found}; {self.fix}"
        )


class Check(NamedTuple):
    """A check of a frame, ready to run."""

    name: str
    reads: tuple[str, ...]  # parts; the first one is to blame
    find: Callable[..., Problem | None]


def frame_checks(function: Callable[..., Problem | None]) -> Iterator[Check]:
    """The checks that a function stands for: one, or one for each part of its group."""
    first, *others = inspect.signature(function).parameters
    for part in GROUPS.get(first, (first,)):
        yield Check(function.__name__, (part, *others), function)
