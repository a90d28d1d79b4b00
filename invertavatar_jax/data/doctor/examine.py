"""Runs all checks on a data set; a part that is found at fault is not read by later checks."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from invertavatar_jax.data.doctor import agreement, arrays, cameras, listing, pictures, sequence
from invertavatar_jax.data.doctor.findings import Check, Fault, Problem, frame_checks
from invertavatar_jax.data.doctor.frame_files import FrameFiles
from invertavatar_jax.data.doctor.survey import read_survey

READABLE = "file_is_readable"  # the check that reading itself is
FRAME_CHECKS: tuple[Check, ...] = tuple(
    chain.from_iterable(
        frame_checks(function)
        for module in (cameras, pictures, arrays, agreement)
        for function in module.CHECKS
    )
)


class Examined(NamedTuple):
    """What the doctor found."""

    root: Path
    clips: int
    frames: int
    faults: list[Fault]


def check_names() -> list[str]:
    """Every check, in the order in which they run."""
    names = [check.__name__ for check in listing.CHECKS] + [READABLE]
    names += dict.fromkeys(check.name for check in FRAME_CHECKS)
    return names + [check.__name__ for check in sequence.CHECKS]


def examine(path: str | Path, each: Callable[[tuple[str, ...]], Iterator[str]] = iter) -> Examined:
    """Checks a data set in the released layout.

    Args:
        each: passes the frames on, for a progress bar.

    Raises:
        UserError: there is no data set.

    Source: TRAINING section E; SPEC sections 1 and 7.
    """
    survey = read_survey(path)
    faults = [
        Fault(check.__name__, file, *problem)
        for check in listing.CHECKS
        for file, problem in check(survey)
    ]
    files = FrameFiles(survey)
    kept: dict[Callable, dict[str, Any]] = {check: {} for check in sequence.CHECKS}
    for frame in each(survey.images):
        sound, found = examine_frame(files, frame)
        faults += found
        for check, (part, summary) in sequence.CHECKS.items():
            if part in sound:
                kept[check][frame] = summary(sound[part])
    for check, (part, _) in sequence.CHECKS.items():
        for frame, problem in check(kept[check]):
            faults.append(_fault(check.__name__, files, frame, part, problem))
    return Examined(survey.root, len(survey.clips()), len(survey.images), faults)


def examine_frame(files: FrameFiles, frame: str) -> tuple[dict[str, Any], list[Fault]]:
    """The sound parts of a frame, and the faults of the others."""
    parts, damaged = files.read(frame)
    faults = [_fault(READABLE, files, frame, *item) for item in damaged.items()]
    for check in FRAME_CHECKS:
        if all(part in parts for part in check.reads):
            problem = check.find(*(parts[part] for part in check.reads))
            if problem is not None:
                faults.append(_fault(check.name, files, frame, check.reads[0], problem))
                del parts[check.reads[0]]
    return parts, faults


def _fault(check: str, files: FrameFiles, frame: str, part: str, problem: Problem) -> Fault:
    """A fault; in a file that holds many frames the field names the frame."""
    shared = part in ("camera", "label")
    field = f"{frame}.png, {problem.field}" if shared else problem.field
    return Fault(check, files.place(frame, part), *problem._replace(field=field), frame=frame)
