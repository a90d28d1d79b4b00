"""One clip of a data set, from tracking to files in place."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from invertavatar_jax import frames
from invertavatar_jax.data import landmark_map, released
from invertavatar_jax.data.doctor.examine import examine
from invertavatar_jax.data.preparing import quality
from invertavatar_jax.data.preparing.sources import Source
from invertavatar_jax.export import files, picture
from invertavatar_jax.fit import landmarks
from invertavatar_jax.fit.camera import to_vector
from invertavatar_jax.fit.sources import SourceError
from invertavatar_jax.fit.track import fit
from invertavatar_jax.types import FaceFit

RECORDS, STAGE = "prepared", ".preparing"  # folders beside those of the layout
CROP, TILE, SHOWN = 512, 128, 6  # pixels; frames of each kind on a strip
LEAST_FRAMES = 2  # of a video: training draws several
TOO_FEW = f"fewer than {LEAST_FRAMES} usable frames"


class Options(NamedTuple):
    """What decides how a clip is made."""

    out: str
    most_frames: int | None = None  # of a video, evenly spread; None: all
    least_side: int = quality.LEAST_SIDE_PX
    face: int | None = None  # by size


class Rejected(TypedDict):
    """A frame that was left out."""

    frame: int | None  # of the source; None: all of it
    reason: str


class Record(TypedDict):
    """What became of a clip; its file says that the clip is finished."""

    name: str
    source: str
    frames: list[int]  # of the source, in the order of the clip's numbers
    rejected: list[Rejected]
    labels: list  # [file, 25 numbers] for every frame


class Tracked(NamedTuple):
    """A clip between tracking and writing."""

    source: Source
    track: FaceFit | None  # None: nothing in it could be tracked
    reasons: list[str | None]  # of its frames
    error: str = ""  # why there is no track


class Kept(NamedTuple):
    """The frames to write; see released.Shown."""

    image: UInt8[np.ndarray, "t h w 3"]
    matte: UInt8[np.ndarray, "t h w"]
    identity: Float[np.ndarray, " k"]
    expression: Float[np.ndarray, "t e"]
    gaze_rad: Float[np.ndarray, "t 4"]
    camera: Float[np.ndarray, "t 25"]
    head_matte: None = None  # the matting network tells persons only


def record_path(out: str | Path, name: str) -> Path:
    """Where a finished clip's record lies."""
    return Path(out) / RECORDS / f"{name}.json"


def track_source(source: Source, options: Options, network: landmarks.LandmarkNetwork) -> Tracked:
    """Tracks a photo or video and judges its frames."""
    try:
        track, _ = fit(source.path, size=CROP, face=options.face, network=network)
    except SourceError as error:
        unreadable = f"unreadable: {str(error).removeprefix(f'{source.path}: ')}"
        nobody = "no face" in str(error) and "found in" in str(error)
        return Tracked(source, None, [], quality.NO_FACE if nobody else unreadable)
    return Tracked(source, track, quality.judge(track, network, options.least_side))


def write_clip(tracked: Tracked, options: Options, geometry: frames.Geometry) -> Record:
    """Writes a clip's good frames, and its record last.

    What the doctor finds in the written files is left out as well. Files are written in a
    folder of their own and moved into place when they are complete.
    """
    name, out = tracked.source.name, Path(options.out)
    stage = out / STAGE / name
    reasons, chosen, labels = list(tracked.reasons), [], []
    try:
        while tracked.track is not None:
            chosen = choose(reasons, is_video=tracked.source.is_video, most=options.most_frames)
            shutil.rmtree(stage, ignore_errors=True)
            if not chosen:
                break
            labels = _write(stage, name, tracked.track, chosen, geometry)
            faults = _faults(stage, chosen)
            if not faults:
                break
            for row, reason in faults.items():
                reasons[row] = reason
        record = _record(tracked, reasons, chosen, labels)
        if chosen:
            _move(stage, out, name)
        if tracked.track is not None:
            strip = _strip(record, tracked.track, reasons)
            picture.write_png(record_path(out, name).with_suffix(".png"), strip)
        files.write_json(record_path(out, name), record)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return record


def choose(reasons: list[str | None], *, is_video: bool, most: int | None) -> list[int]:
    """The rows of the track to write."""
    good = [row for row, reason in enumerate(reasons) if reason is None]
    if is_video and len(good) < LEAST_FRAMES:
        for row in good:
            reasons[row] = TOO_FEW
        return []
    count = len(good) if most is None else min(most, len(good))
    return [good[i * len(good) // count] for i in range(count)]


def _write(
    stage: Path, name: str, track: FaceFit, rows: list[int], geometry: frames.Geometry
) -> list:
    """Writes a data set of this clip alone; gives its labels."""
    camera = to_vector(track.camera)
    moving = (track.image, track.matte, track.expression, track.gaze_rad, camera)
    image, matte, expression, gaze_rad, camera = (np.asarray(x)[rows] for x in moving)
    kept = Kept(image, matte, np.asarray(track.identity), expression, gaze_rad, camera)
    released.write_clip(stage, name, kept, geometry)
    contours = stage / released.CONTOURS / name
    contours.mkdir(parents=True)
    for number, row in enumerate(rows):
        drawn = landmark_map.draw_landmarks(np.asarray(track.landmarks_px)[row, :468], CROP)
        Image.fromarray(drawn).save(contours / f"{number:05d}.png")
    released.write_labels(stage)
    text = (stage / released.IMAGES / released.LABELS[0]).read_text(encoding="utf-8")
    return json.loads(text)["labels"]


def _faults(stage: Path, rows: list[int]) -> dict[int, str]:
    """Rows of the track whose written files the doctor objects to, with its first reason."""
    found = {}
    for fault in examine(stage).faults:
        row = rows[int(fault.frame.rpartition("/")[2])]
        found.setdefault(row, f"{fault.check.replace('_', ' ')}: {fault.found}")
    return found


def _move(stage: Path, out: Path, name: str) -> None:
    """Puts a complete clip into the data set, in the place of what an interrupted run left."""
    for folder in sorted(stage.iterdir()):
        target = out / folder.name / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(folder / name, target)


def _record(tracked: Tracked, reasons: list[str | None], rows: list[int], labels: list) -> Record:
    rejected: list[Rejected] = []
    if tracked.track is None:
        rejected = [{"frame": None, "reason": tracked.error}]
    for row, reason in enumerate(reasons):
        if reason is not None:
            rejected.append({"frame": row, "reason": reason})
    return Record(
        name=tracked.source.name,
        source=tracked.source.path,
        frames=rows,
        rejected=rejected,
        labels=labels if rows else [],
    )


def _strip(record: Record, track: FaceFit, reasons: list[str | None]) -> picture.Picture:
    """Some kept and some rejected frames, for the contact sheet."""
    bad = [row for row, reason in enumerate(reasons) if reason is not None]
    rows, words, name = [], [], record["name"][:24]
    if record["frames"]:
        rows.append(_spread(record["frames"]))
        words.append(f"{name}: {len(record['frames'])} kept")
    if bad:
        rows.append(_spread(bad))
        ((most, _),) = Counter(reasons[row] for row in bad).most_common(1)
        words.append(f"{name}: {len(bad)} rejected, {str(most)[:24]}")
    shown = [[np.asarray(track.image[row]) for row in some] for some in rows]
    return picture.contact_sheet(shown, row_labels=words, tile=TILE)


def _spread(rows: list[int]) -> list[int]:
    count = min(SHOWN, len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]
