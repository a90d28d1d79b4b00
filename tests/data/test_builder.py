"""The synthetic heads as a tfds data set, without TensorFlow."""

import numpy as np
import pytest

from invertavatar_jax.data.synthetic import scene


@pytest.mark.filterwarnings("ignore")
def test_the_builder_writes_what_the_generator_draws(tmp_path):
    from tfds_builders.synthetic_heads.synthetic_heads_dataset_builder import Builder

    builder = Builder(config="tiny", data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    examples = list(builder.as_data_source(split="train"))
    assert len(examples) == 2
    studio = scene.open_studio(size=32)
    drawn = [scene.sample_scene(np.random.default_rng([0, i]), studio, 2) for i in (0, 1)]
    for example in examples:
        twin = min(drawn, key=lambda clip: np.abs(clip.identity - example["identity"]).max())
        np.testing.assert_array_equal(example["identity"], twin.identity)
        np.testing.assert_array_equal(np.stack(example["image"]), twin.image)
        np.testing.assert_array_equal(np.stack(example["matte"])[..., 0], twin.matte)
        np.testing.assert_array_equal(example["camera"], twin.camera)
