"""Checks of names and lists: which files there are, and what the labels say of them.

Each check gives pairs of a file's name in the data set and a problem.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

from invertavatar_jax.data.doctor.findings import Problem
from invertavatar_jax.data.doctor.survey import (
    CAMERAS,
    FOLDERS,
    Survey,
    frame_order,
    is_numbered,
    is_photo,
    normal,
    stem,
)
from invertavatar_jax.data.released import (
    COEFFICIENTS,
    CONTOURS,
    HEADS,
    IMAGES,
    LABELS,
    PERSONS,
    UVS,
)

Found = Iterator[tuple[str, Problem]]
PREPARE_AGAIN = "copy it again, or prepare the data set again"


def folders_are_there(survey: Survey) -> Found:
    """Every kind of file has its folder; one kind of masks is enough."""
    wanted = {survey.rasters, COEFFICIENTS, UVS, *(() if _has_masks(survey) else (PERSONS,))}
    for folder in FOLDERS:
        if folder in wanted - survey.files.keys():
            yield folder, Problem("folder", "a folder of the layout", "none", PREPARE_AGAIN)


def labels_are_readable(survey: Survey) -> Found:
    """Both files of labels hold a list."""
    for file in LABELS:
        if survey.labels[file] is None:
            found = "no such file" if file not in survey.files[IMAGES] else "something else"
            fix = PREPARE_AGAIN
            yield _labels(file), Problem("labels", '{"labels": [[file, numbers], ...]}', found, fix)


def labels_are_pairs(survey: Survey) -> Found:
    """Every entry is a file's name and a list."""
    for file in LABELS:
        for number, entry in enumerate(survey.labels[file] or ()):
            pair = isinstance(entry, list) and len(entry) == 2
            if not pair or not isinstance(entry[0], str) or not isinstance(entry[1], list):
                found, fix = json.dumps(entry)[:60], "write the entry anew"
                field = f"entry {number}"
                yield _labels(file), Problem(field, "[file, numbers]", found, fix)


def names_are_plain(survey: Survey) -> Found:
    """Labels name files as clip/frame.png, relative and with forward slashes."""
    for file, name in _names(survey):
        parts = name.split("/")
        if "\\" in name or len(parts) != 2 or {"", ".", ".."} & set(parts):
            yield _labels(file), Problem(name, "clip/frame.png", repr(name), "rename the entry")


def names_are_spelt_alike(survey: Survey) -> Found:
    """Labels spell names as the files do; some systems tell capitals apart."""
    there = {normal(name): name for name in survey.files[IMAGES] if is_photo(name)}
    for file, name in _names(survey):
        other = there.get(normal(name))
        if other is not None and other != name and other.casefold() == name.casefold():
            yield _labels(file), Problem(name, f"{other!r} as on disk", repr(name), "spell it so")


def images_are_png(survey: Survey) -> Found:
    """Pictures have the ending that the layout names."""
    for name in sorted(filter(is_photo, survey.files[IMAGES])):
        if not name.lower().endswith(".png"):
            found, fix = f".{name.rpartition('.')[2]}", "convert the picture to PNG"
            yield f"{IMAGES}/{name}", Problem("ending", ".png", found, fix)


def labels_are_unique(survey: Survey) -> Found:
    """No picture is listed twice in a file."""
    for file in LABELS:
        count = Counter(name for name, _ in survey.entries(file))
        for name in sorted(name for name, times in count.items() if times > 1):
            found, fix = f"{count[name]}", "keep the right one"
            yield _labels(file), Problem(name, "1 entry", found, fix)


def labels_have_images(survey: Survey) -> Found:
    """Every listed picture is there."""
    there = set(map(normal, survey.images))
    for file, name in _names(survey):
        if normal(name) not in there:
            fix = "copy the picture again or delete the entry"
            yield _labels(file), Problem(name, "a picture of this name", "none", fix)


def images_have_labels(survey: Survey) -> Found:
    """Every picture is listed in both files."""
    for file in LABELS:
        if survey.labels[file] is None:
            continue
        listed = {normal(name) for name, _ in survey.entries(file)}
        for name in survey.images:
            if normal(name) not in listed:
                fix = "add its camera or delete the picture"
                yield _labels(file), Problem(name, "an entry for the picture", "none", fix)


def labels_are_in_order(survey: Survey) -> Found:
    """A clip's numbered frames are listed together, by number."""
    for file in LABELS:
        listed = dict.fromkeys(normal(name) for name, _ in survey.entries(file))
        names = [name for name in listed if is_numbered(name)]
        done: set[str] = set()
        for before, name in pairwise(names):
            clip = name.rpartition("/")[0]
            same = clip == before.rpartition("/")[0]
            done |= set() if same else {before.rpartition("/")[0]}
            late = same and frame_order(name) < frame_order(before)
            if late or clip in done:
                expected, fix = "its place in the order of its clip", "sort the list"
                yield _labels(file), Problem(name, expected, f"it after {before}", fix)


def labels_list_the_same(survey: Survey) -> Found:
    """Both files list the same pictures in the same order."""
    first, second = ([name for name, _ in survey.entries(file)] for file in LABELS)
    if sorted(first) == sorted(second):
        for number, (name, other) in enumerate(zip(first, second, strict=True)):
            if name != other:
                expected, fix = f"{other} as in {CAMERAS}", "sort both lists alike"
                yield _labels(LABELS[0]), Problem(f"entry {number}", expected, name, fix)
                return


def frames_have_no_gaps(survey: Survey) -> Found:
    """The numbers of a clip's frames go up by the same step, which all clips share."""
    listed = {stem(name) for name, _ in survey.entries(CAMERAS)}
    numbers = defaultdict(list)
    for name in sorted(listed | set(survey.images), key=frame_order):
        clip, _, frame = name.rpartition("/")
        if is_numbered(name):
            numbers[clip].append(int(frame))
    steps = Counter(b - a for own in numbers.values() for a, b in pairwise(own))
    if not steps:
        return
    usual = min(steps, key=lambda step: (-steps[step], step))
    for clip, own in numbers.items():
        for a, b in pairwise(own):
            if b - a != usual:
                expected, fix = f"{a + usual}", "copy the missing frames or number the clip anew"
                yield f"{IMAGES}/{clip}", Problem(f"frame after {a}", expected, f"{b}", fix)


def clips_have_several_frames(survey: Survey) -> Found:
    """In a data set of videos no clip is a single picture."""
    count = {clip: len(frames) for clip, frames in survey.clips().items()}
    videos = sum(n > 1 for n in count.values())
    if 2 * videos >= len(count):
        for clip in (clip for clip, n in count.items() if n == 1):
            fix = "prepare the clip again, or keep photos in a data set of their own"
            yield f"{IMAGES}/{clip}", Problem("frames", "2 or more, as in other clips", "1", fix)


def frames_are_complete(survey: Survey) -> Found:
    """Every picture has its files in the other folders."""
    endings: Mapping[str, tuple[str, ...]] = {
        survey.rasters: (".npy", "_coeff.npy"),
        COEFFICIENTS: (".npy",),
        UVS: (".npy", "_uvgttex.png"),
        HEADS: (".png",),
        PERSONS: (".png",),
        CONTOURS: (".png",),
    }
    for folder, names in survey.files.items():
        for ending in endings.get(folder, ()):
            if ending == "_coeff.npy" and not any(name.endswith(ending) for name in names):
                continue  # only some versions of the preparation write them
            for name in survey.images:
                if name + ending not in names:
                    fix = PREPARE_AGAIN
                    problem = Problem("file", "one for every picture", "none", fix)
                    yield f"{folder}/{name}{ending}", problem


def files_are_not_empty(survey: Survey) -> Found:
    """No file has zero bytes, as interrupted copies leave them."""
    for name in _files(survey):
        path = survey.root / name
        if not path.is_symlink() and path.stat().st_size == 0:
            yield name, Problem("size", "content", "0 bytes", PREPARE_AGAIN)


def files_are_no_links(survey: Survey) -> Found:
    """Files are files: links break when a data set is moved or read on another machine."""
    for name in _files(survey):
        path = survey.root / name
        if path.is_symlink():
            found = "a link" if path.exists() else "a link that leads nowhere"
            yield name, Problem("file", "a file", found, "put the file itself there")


def nothing_is_left_over(survey: Survey) -> Found:
    """No file of an interrupted writer is left."""
    for name in _files(survey):
        base = name.rpartition("/")[2]
        if name.endswith(".camera.npy") or base.startswith(".") or base.endswith((".tmp", ".part")):
            fix = "finish the preparation, or delete the file"
            yield name, Problem("file", "files of the layout", "a writer's temporary file", fix)


CHECKS = (
    folders_are_there,
    labels_are_readable,
    labels_are_pairs,
    names_are_plain,
    names_are_spelt_alike,
    images_are_png,
    labels_are_unique,
    labels_have_images,
    images_have_labels,
    labels_are_in_order,
    labels_list_the_same,
    frames_have_no_gaps,
    clips_have_several_frames,
    frames_are_complete,
    files_are_not_empty,
    files_are_no_links,
    nothing_is_left_over,
)


def _labels(file: str) -> str:
    return f"{IMAGES}/{file}"


def _names(survey: Survey) -> Iterator[tuple[str, str]]:
    """File of labels and name of every entry."""
    for file in LABELS:
        yield from ((file, name) for name, _ in survey.entries(file))


def _files(survey: Survey) -> Iterator[str]:
    for folder, names in survey.files.items():
        yield from (f"{folder}/{name}" for name in sorted(names))


def _has_masks(survey: Survey) -> bool:
    return HEADS in survey.files or PERSONS in survey.files
