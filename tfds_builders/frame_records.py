"""What all builders of frame records share; see invertavatar_jax/data/records.py.

tfds runs without TensorFlow: files are array_record, and pictures arrive encoded. Records keep
their order, clip after clip, and metadata.json lists the clips.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from invertavatar_jax import settings
from invertavatar_jax.data import records, released
from invertavatar_jax.data.prepared import read_uv_mask

PRESETS = ("paper", "small", "small_paper", "tiny", "tiny_paper")
INSTRUCTIONS = """The manual folder holds the data set in the released system's layout, with
images512x512/dataset_realcam.json; see docs/data_layout.md. `./avatar prepare` makes it."""


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
    """The sizes of the records."""

    preset: str


def configs() -> list[Config]:
    """One for the sizes of each preset."""
    describe = lambda name: f"Frames at the sizes of the preset {name}."
    return [Config(name=name, description=describe(name), preset=name) for name in PRESETS]


def info(
    builder: tfds.core.DatasetBuilder, preset: str, origin: dict, **description: str
) -> tfds.core.DatasetInfo:
    """The features of frame records, in their order.

    Args:
        origin: what the records are made from; kept in metadata.json.
        description: description, homepage and citation.
    """
    sizes = records.sizes_of(settings.preset(preset))
    picture = lambda side, channels: tfds.features.Image(
        shape=(side, side, channels), encoding_format="png"
    )
    numbers = lambda dtype, *shape: tfds.features.Tensor(
        shape=shape, dtype=dtype, encoding=tfds.features.Encoding.ZLIB
    )
    features = {
        "image": picture(sizes.image, 3),
        "matte": picture(sizes.image, 1),
        "uv_rgb": picture(sizes.uv, 3),
        "uv_xy": numbers(np.float16, sizes.uv, sizes.uv, 2),
        "uv_visible": numbers(np.float32, sizes.uv, sizes.uv, 1),
        "raster": numbers(np.float32, sizes.raster, sizes.raster, 3),
        "camera": tfds.features.Tensor(shape=(25,), dtype=np.float32),
        "landmarks": picture(sizes.image, 3),
        "clip": tfds.features.Text(),
        "frame": tfds.features.Scalar(np.int32),
    }
    return builder.dataset_info_from_configs(
        features=tfds.features.FeaturesDict(features),
        disable_shuffling=True,
        metadata=tfds.core.MetadataDict(sizes=list(sizes), origin=origin, clips=[]),
        **description,
    )


def examples(
    info: tfds.core.DatasetInfo,
    clips: Iterable[tuple[str, Iterable[records.Frame]]],
    total: int,
) -> Iterator[tuple[int, dict]]:
    """The records of clips one after another, with a progress bar; lists the clips in `info`.

    Args:
        total: how many clips there are.
    """
    key, listed = 0, []
    for name, shown in tqdm(clips, total=total, unit="clip"):
        count = 0
        for frame in shown:
            yield key, records.encode(frame) | {"clip": name, "frame": count}
            key, count = key + 1, count + 1
        listed.append([name, count])
    info.metadata["clips"] = listed


class ReleasedBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Turns a folder in the released layout into frame records."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = configs()
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    DESCRIPTION = HOMEPAGE = CITATION = ""
    PHOTOS = False  # every picture is a clip of its own

    def _info(self) -> tfds.core.DatasetInfo:
        return info(
            self,
            self.builder_config.preset,
            {},
            description=self.DESCRIPTION,
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        return {"train": self._generate_examples(released.Released(dl_manager.manual_dir))}

    def _generate_examples(self, data: released.Released) -> Iterator[tuple[int, dict]]:
        sizes = records.sizes_of(settings.preset(self.builder_config.preset))
        uv_mask, groups = read_uv_mask(data.root), self._group(data)
        read = lambda number: records.from_layout(data[number], sizes, uv_mask)
        clips = ((name, map(read, numbers)) for name, numbers in groups.items())
        yield from examples(self.info, clips, len(groups))

    def _group(self, data: released.Released) -> dict[str, list[int]]:
        """The frame numbers of each clip, in the order of the data set."""
        clips: dict[str, list[int]] = {}
        for number, (file, _) in enumerate(data.labels):
            name = Path(file).with_suffix("") if self.PHOTOS else Path(file).parent
            clips.setdefault(name.as_posix(), []).append(number)
        return clips
