"""Synthetic heads as a TensorFlow data set, without TensorFlow: array_record files.

Build with `tfds build tfds_builders/synthetic_heads --file_format array_record`, or from
Python: Builder(config="small", data_dir=..., file_format="array_record").
"""

import dataclasses
import io
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from invertavatar_jax.data.synthetic.scene import open_studio, sample_scene

DESCRIPTION = """People rendered from MakeHuman's CC0 head: each example is one person before
one background and light, in several unrelated moments, with the exact coefficients, gaze and
camera of every picture."""
COMPONENTS, EXPRESSIONS = 80, 52  # of the bundled head model


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
    """How much is drawn, and how large."""

    identities: int = 1000
    frames: int = 8
    size: int = 256
    seed: int = 0


class Builder(tfds.core.GeneratorBasedBuilder):
    """Draws the people when the data set is built; nothing is downloaded."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (the interface of tfds)
        Config(name="small", description="1,000 people of 256 pixels."),
        Config(name="tiny", description="For tests.", identities=2, frames=2, size=32),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        size, frames = self.builder_config.size, self.builder_config.frames
        picture = lambda channels: tfds.features.Image(
            shape=(size, size, channels), encoding_format="png"
        )
        numbers = lambda *shape: tfds.features.Tensor(shape=shape, dtype=np.float32)
        moments = {"image": picture(3), "matte": picture(1), "head_matte": picture(1)}
        features = {
            **{name: tfds.features.Sequence(value) for name, value in moments.items()},
            "background": picture(3),
            "identity": numbers(COMPONENTS),
            "expression": numbers(frames, EXPRESSIONS),
            "gaze_rad": numbers(frames, 4),
            "camera": numbers(frames, 25),
        }
        return self.dataset_info_from_configs(
            description=DESCRIPTION,
            features=tfds.features.FeaturesDict(features),
            homepage="http://www.makehumancommunity.org",
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        studio = open_studio(size=config.size)
        for number in range(config.identities):
            rng = np.random.default_rng([config.seed, number])
            clip = sample_scene(rng, studio, config.frames)._asdict()
            for name in ("image", "matte", "head_matte"):
                clip[name] = [_png(picture) for picture in clip[name]]
            yield number, clip | {"background": _png(clip["background"])}


def _png(picture: np.ndarray) -> io.BytesIO:
    """Encoded, since tfds would need TensorFlow to encode an array."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    file.seek(0)
    return file
