"""Reads frame records (records.py) and deals them out as training batches (grain).

A batch depends on the seed and its number alone: not on how many processes share it, nor on
how many threads read it.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import grain
import numpy as np

from invertavatar_jax.data.records import Frame, Sizes, check_reads
from invertavatar_jax.errors import UserError
from invertavatar_jax.settings import Model

METADATA = "metadata.json"  # written by tfds_builders/frame_records.py
FIELDS = (*Frame._fields, "clip", "frame")
OTHER = ("camera", "raster", "landmarks")  # of the other frame of an example
_ENDLESS = 1 << 48  # batches
_SAMPLE = 1 << 16  # bytes at either end of a file that its fingerprint reads


class Clip(NamedTuple):
    """Consecutive records: the frames of one clip, or one photo."""

    name: str
    number: int  # its place in the whole data set
    first: int  # record number
    count: int


class Source(Protocol):
    """Where records lie."""

    def __len__(self) -> int: ...
    def read(self, number: int, names: tuple[str, ...]) -> dict[str, Any]:
        """The named fields of a record; others are not decoded."""
        ...


@dataclasses.dataclass(frozen=True)
class Records:
    """A data set of frame records, or some of its clips; random access by record number."""

    folder: Path
    sizes: Sizes
    clips: tuple[Clip, ...]
    fingerprint: str  # of the whole data set: SHA-256
    source: "Source" = dataclasses.field(repr=False)

    def __len__(self) -> int:
        """Frames of `clips`."""
        return sum(clip.count for clip in self.clips)

    @property
    def numbers(self) -> np.ndarray:
        """The record numbers of all frames of `clips`, in order."""
        return np.concatenate([clip.first + np.arange(clip.count) for clip in self.clips])

    def __getitem__(self, number: int) -> dict[str, Any]:
        """One record: records.Frame's fields, with `clip` and `frame`; uv_xy is float32.

        Raises:
            UserError: it cannot be read.
        """
        record = self.read(number, FIELDS)
        record["uv_xy"] = record["uv_xy"].astype(np.float32)
        record["clip"] = record["clip"].decode()
        return record

    def read(self, number: int, names: tuple[str, ...]) -> dict[str, Any]:
        """Some fields of a record, as stored: FIELDS or OTHER. Raises as indexing."""
        try:
            return self.source.read(number, names)
        except Exception as error:  # array_record, protobuf, zlib and OpenCV have their own kinds
            raise UserError(
                f"{self.folder}: record {number} is damaged ({type(error).__name__}): copy the "
                "data set again, or make it again with its builder."
            ) from error

    def split(self, held_out: int) -> "tuple[Records, Records]":
        """The clips to train on, and the last `held_out` ones, which are not among them.

        Raises:
            UserError: no clip would be left to train on.
        """
        kept = len(self.clips) - held_out
        if held_out < 0 or kept < 1:
            raise UserError(
                f"{self.folder} holds {len(self.clips)} clips; {held_out} of them cannot be held "
                "out of training: hold out fewer."
            )
        part = lambda clips: dataclasses.replace(self, clips=clips)
        return part(self.clips[:kept]), part(self.clips[kept:])

    def check(self, model: Model) -> None:
        """Refuses a model that cannot read these records; see records.check_reads."""
        check_reads(model, self.sizes)


def open_records(folder: str | Path) -> Records:
    """Opens what a builder wrote: its folder, or one above it that holds no other data set.

    Raises:
        UserError: there is no such folder, no data set of frame records in it, or several, or
            its files do not fit together.
    """
    folder = _locate(Path(folder))
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        image, uv, raster, window, box_warp = metadata["sizes"]
        counted = [(str(name), int(count)) for name, count in metadata["clips"]]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder / METADATA} lists no clips of frame records ({error}): make the data set "
            "with a builder of tfds_builders (synthetic_heads: with --records)."
        ) from error
    source = _open_source(folder)
    starts = np.cumsum([0, *(count for _, count in counted)]).tolist()
    if starts[-1] != len(source) or not counted:
        raise UserError(
            f"{folder} holds {len(source)} records, but {METADATA} lists {starts[-1]}: copy the "
            "data set again, or make it again with its builder."
        )
    clips = tuple(Clip(name, i, starts[i], count) for i, (name, count) in enumerate(counted))
    sizes = Sizes(image, uv, raster, tuple(window), box_warp)
    return Records(folder, sizes, clips, _fingerprint(folder), source)


def pipeline(
    records: Records,
    *,
    frames: int,
    batch: int,
    seed: int,
    replace: bool = True,
    process: tuple[int, int] = (0, 1),
    threads: int = 1,
) -> grain.DatasetIterator[dict[str, np.ndarray]]:
    """An endless iterator of batches; get_state and set_state keep its position.

    The state counts batches, and is the same in all processes.

    Args:
        frames: of an example. 1: every frame once an epoch, shuffled. More: every clip once an
            epoch, shuffled, and that many of its frames, unsorted; the first one is the base.
        batch: examples, over all processes.
        seed: not negative.
        replace: a clip's frames are drawn with replacement.
        process: this one's number and their count: process i of n gets the rows from
            i * batch / n up to (i + 1) * batch / n of the batch.
        threads: that read batches ahead.

    Yields:
        records.Frame's arrays with leading axes [b t], pictures in uint8; int32 [b t] `clip`
        (its place in the whole data set) and `frame`; and `other_camera`, `other_raster` and
        `other_landmarks` [b ...] of one random frame for each example, which condition the
        generator.

    Raises:
        UserError: the batch does not divide among the processes, or a clip is too short to
            draw from without replacement.

    Source: TRAINING sections A and D.
    """
    index, processes = process
    if batch % processes:
        raise UserError(f"A batch of {batch} does not divide among {processes} processes.")
    shortest = min(records.clips, key=lambda clip: clip.count)
    if not replace and shortest.count < frames:
        raise UserError(
            f"{records.folder}: clip {shortest.name} has {shortest.count} frames; {frames} of "
            "them cannot be drawn without replacement."
        )
    own = slice(index * batch // processes, (index + 1) * batch // processes)
    batches = _Batches(records, frames, batch, seed, replace, own)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return iter(grain.MapDataset.source(batches).to_iter_dataset(options))


class _Batches:
    """All batches by number; grain's own shuffle takes milliseconds a clip where clips are few."""

    def __init__(
        self, records: Records, frames: int, batch: int, seed: int, replace: bool, own: slice
    ):
        self._records, self._frames, self._batch, self._seed = records, frames, batch, seed
        self._replace, self._own = replace, own
        self._numbers = records.numbers
        choices = len(self._numbers) if frames == 1 else len(records.clips)
        self._epoch_length = choices
        # the first word of a seed keeps the two kinds of generator apart
        self._order = functools.lru_cache(maxsize=2)(
            lambda epoch: np.random.default_rng([0, seed, epoch]).permutation(choices)
        )

    def __len__(self) -> int:
        return _ENDLESS

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        positions = range(number * self._batch, (number + 1) * self._batch)[self._own]
        return _read(self._records, np.stack([self._draw(position) for position in positions]))

    def _draw(self, position: int) -> np.ndarray:
        """The record numbers of an example's frames, and at the end that of another frame."""
        epoch, place = divmod(position, self._epoch_length)
        choice = self._order(epoch)[place]
        rng = np.random.default_rng([1, self._seed, position])
        other = self._numbers[rng.integers(len(self._numbers))]
        if self._frames == 1:
            return np.array([self._numbers[choice], other])
        clip = self._records.clips[choice]
        drawn = rng.choice(clip.count, self._frames, replace=self._replace)
        return np.append(clip.first + drawn, other)


def _read(records: Records, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of record numbers [b, t + 1], whose last column is the other frame."""
    shown, others = drawn[:, :-1], drawn[:, -1]
    found = {number: records[number] for number in np.unique(shown).tolist()}
    # decoding pictures is most of the work, and of another frame few are looked at
    missing = set(others.tolist()) - set(found)
    found |= {number: records.read(number, OTHER) for number in missing}

    def stack(name: str, numbers: np.ndarray) -> np.ndarray:
        rows = np.stack([found[number][name] for number in numbers.ravel().tolist()])
        return rows.reshape(*numbers.shape, *rows.shape[1:])

    place = np.searchsorted([clip.first for clip in records.clips], shown, "right") - 1
    batch = {name: stack(name, shown) for name in Frame._fields}
    batch["clip"] = np.array([clip.number for clip in records.clips], np.int32)[place]
    batch["frame"] = stack("frame", shown).astype(np.int32)
    return batch | {f"other_{name}": stack(name, others) for name in OTHER}


def _locate(folder: Path) -> Path:
    """The folder of the one data set in a folder."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder} of training data: check the path.")
    found = [path.parent for path in sorted(folder.rglob("features.json"))]
    found = [path for path in found if "incomplete" not in path.name]
    if not found:
        raise UserError(
            f"{folder} holds no data set: make one with a builder of tfds_builders, such as "
            "`python -m tfds_builders.vfhq --data LAYOUT --preset paper --out FOLDER`."
        )
    if len(found) > 1:
        shown = ", ".join(str(path.relative_to(folder)) for path in found[:5])
        raise UserError(f"{folder} holds {len(found)} data sets ({shown}): name one of them.")
    return found[0]


@dataclasses.dataclass(frozen=True)
class _Files:
    """A Source of array_record files."""

    encoded: Sequence[bytes]
    features: dict[tuple[str, ...], Any]  # tfds' decoder of the fields FIELDS or OTHER

    def __len__(self) -> int:
        return len(self.encoded)

    def read(self, number: int, names: tuple[str, ...]) -> dict[str, Any]:
        return self.features[names].deserialize_example_np(self.encoded[number])


def _open_source(folder: Path) -> Source:
    import tensorflow_datasets as tfds  # data sets alone need it

    try:
        builder = tfds.builder_from_directory(folder)
        encoded = builder.as_data_source(
            split="train", deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
        stored = builder.info.features
        part = lambda names: tfds.features.FeaturesDict({name: stored[name] for name in names})
        return _Files(encoded, {names: part(names) for names in (FIELDS, OTHER)})
    except Exception as error:  # tfds and array_record have their own kinds
        raise UserError(
            f"{folder} is a damaged data set ({error}): copy it again, or make it again with its "
            "builder."
        ) from error


def _fingerprint(folder: Path) -> str:
    """A hash of what the data set says of itself, and of its files' names, sizes and ends."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.array_record*")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with open(path, "rb") as file:
            digest.update(file.read(_SAMPLE))
            file.seek(max(0, size - _SAMPLE))
            digest.update(file.read())
    for name in ("features.json", METADATA):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
