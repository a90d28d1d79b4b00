"""Synthetic heads as a TensorFlow data set, without TensorFlow: array_record files.

Configurations without a preset hold people, with all that is known of them; those with one
hold frame records for training, as the other builders' do.

Build with `tfds build tfds_builders/synthetic_heads --file_format array_record`, or from
Python: Builder(config="small", data_dir=..., file_format="array_record").
"""

import dataclasses
import io
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from invertavatar_jax import frames, settings
from invertavatar_jax.data import records
from invertavatar_jax.data.synthetic.scene import Clip, Studio, open_studio, sample_scene
from tfds_builders import frame_records

DESCRIPTION = """People rendered from MakeHuman's CC0 head: each example is one person before
one background and light, in several unrelated moments, with the exact coefficients, gaze and
camera of every picture."""
HOMEPAGE = "http://www.makehumancommunity.org"
COMPONENTS, EXPRESSIONS = 80, 52  # of the bundled head model


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
    """How much is drawn, and how large."""

    identities: int = 1000
    frames: int = 8
    size: int = 256  # of people's pictures; records have the preset's
    seed: int = 0
    first: int = 0  # identity number to start with
    preset: str = ""  # sizes of frame records; "": one example is a person


class Builder(tfds.core.GeneratorBasedBuilder):
    """Draws the people when the data set is built; nothing is downloaded."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (the interface of tfds)
        Config(name="small", description="1,000 people of 256 pixels."),
        Config(name="tiny", description="For tests.", identities=2, frames=2, size=32),
        Config(name="records_small", description="Frame records of 1,000 people.", preset="small"),
        Config(name="records_tiny", description="For tests.", identities=24, preset="tiny"),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        if not config.preset:
            return self.dataset_info_from_configs(
                description=DESCRIPTION,
                features=tfds.features.FeaturesDict(_person(config.size, config.frames)),
                homepage=HOMEPAGE,
            )
        origin = {name: getattr(config, name) for name in ("identities", "frames", "seed", "first")}
        described = {"description": DESCRIPTION, "homepage": HOMEPAGE, "citation": ""}
        return frame_records.info(self, config.preset, origin, **described)

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        if not self.builder_config.preset:
            return {"train": self._generate_examples()}
        count = self.builder_config.identities
        return {"train": frame_records.examples(self.info, self._clips(), count)}

    def _generate_examples(self) -> Iterator[tuple[int, dict]]:
        studio = open_studio(size=self.builder_config.size)
        for number in self._numbers():
            clip = self._draw(studio, number)._asdict()
            for name in ("image", "matte", "head_matte"):
                clip[name] = [_png(picture) for picture in clip[name]]
            yield number, clip | {"background": _png(clip["background"])}

    def _clips(self) -> Iterator[tuple[str, list[records.Frame]]]:
        model = records.without_departures(settings.preset(self.builder_config.preset))
        studio = open_studio(size=model.renderer.image_resolution)
        head = studio.anatomy.head
        geometry = frames.geometry(head, model)
        for number in self._numbers():
            clip = self._draw(studio, number)
            yield f"person_{number:06d}", records.from_scene(clip, geometry, head)

    def _numbers(self) -> range:
        first = self.builder_config.first
        return range(first, first + self.builder_config.identities)

    def _draw(self, studio: Studio, number: int) -> Clip:
        rng = np.random.default_rng([self.builder_config.seed, number])
        return sample_scene(rng, studio, self.builder_config.frames)


def _person(size: int, frames: int) -> dict[str, tfds.features.FeatureConnector]:
    """The features of a person."""
    picture = lambda channels: tfds.features.Image(
        shape=(size, size, channels), encoding_format="png"
    )
    numbers = lambda *shape: tfds.features.Tensor(shape=shape, dtype=np.float32)
    moments = {"image": picture(3), "matte": picture(1), "head_matte": picture(1)}
    return {
        **{name: tfds.features.Sequence(value) for name, value in moments.items()},
        "background": picture(3),
        "identity": numbers(COMPONENTS),
        "expression": numbers(frames, EXPRESSIONS),
        "gaze_rad": numbers(frames, 4),
        "camera": numbers(frames, 25),
    }


def _png(picture: np.ndarray) -> io.BytesIO:
    """Encoded, since tfds would need TensorFlow to encode an array."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    file.seek(0)
    return file
