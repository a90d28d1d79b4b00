"""The stage of the recurrent U-Nets at the smallest size."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.fewshot import get_config
from invertavatar_jax import networks, settings
from invertavatar_jax.train import config
from invertavatar_jax.train.stage import Inputs, Outcome
from invertavatar_jax.train.stages import fewshot
from tests.train import batches, iteration


@pytest.mark.parametrize("variant", ["paper", "released", "tiny", *settings.AGGREGATORS[1:]])
def test_every_variant_is_complete(variant):
    assert config.parse(get_config(variant)).stage == "fewshot"


@pytest.mark.parametrize("variant", ["conv_fusion", "att_fusion"])
def test_the_baselines_train_on_clips_of_their_window(variant):
    training = config.parse(get_config(variant))
    own = training.settings
    window = networks.window(settings.preset(training.preset))
    assert training.frames == own.chunk == own.rendered == window


def test_rendered_frames_are_the_first_and_others_that_were_folded():
    own = config.parse(get_config("paper")).settings
    keys = jax.random.split(jax.random.key(0), 200)
    drawn = jax.vmap(lambda key: fewshot.draw_frames(key, 12, own))(keys)
    assert sorted(set(drawn.folded.tolist())) == [1, 2, 3]
    for folded, rendered in zip(drawn.folded.tolist(), drawn.rendered.tolist(), strict=True):
        assert rendered[0] == 0 and len(set(rendered)) == own.rendered
        assert max(rendered) < folded * own.chunk
    assert {number for row in drawn.rendered.tolist() for number in row} == set(range(12))


def test_clips_must_be_whole_chunks():
    own = config.parse(get_config("paper")).settings
    with pytest.raises(ValueError, match="clips of 6 frames"):
        fewshot.draw_frames(jax.random.key(0), 6, own)


def test_a_one_shot_model_is_refused():
    own = config.parse(get_config("tiny"))
    with pytest.raises(ValueError, match="one-shot preset"):
        fewshot.make(settings.preset("paper_oneshot_unet"), own.settings, own.batching)


def traced(frames: int, texture: str, triplane: str) -> tuple[dict, Outcome]:
    """Shapes of the trained parameters, and of an iteration's result on photos."""
    model = settings.with_aggregator(settings.preset("tiny_paper"), texture)
    model = dataclasses.replace(
        model, triplane_decoder=dataclasses.replace(model.triplane_decoder, aggregator=triplane)
    )
    own = config.parse(get_config("tiny"))
    stage = fewshot.make(model, own.settings, own.batching)
    start = jax.eval_shape(lambda key: stage.start(key, None), jax.random.key(0))
    phase = next(phase for phase in stage.phases(True) if phase.name.startswith("Ireal"))
    batch, key = batches.draw(1, frames), jax.random.key(0)
    inputs = Inputs(start.params, {}, start.buffers, start.slot, batch, key, jnp.int32(0))
    return start.params[phase.group]["unet_encoder"], jax.eval_shape(phase.loss, inputs)


@pytest.mark.parametrize(
    ("frames", "texture", "triplane"),
    [
        (4, "min_conv_gru", "window"),
        (2, "conv_fusion", "att_fusion"),
        pytest.param(4, "confidence_mean", "diagonal", marks=pytest.mark.slow),
        pytest.param(4, "running_mean", "conv_gru", marks=pytest.mark.slow),
    ],
)
def test_every_aggregator_can_be_trained(frames, texture, triplane):
    params, outcome = traced(frames, texture, triplane)
    assert outcome.loss.shape == ()
    for unet, name in (("texture_unet", texture), ("triplane_unet", triplane)):
        levels = [level for key, level in params[unet].items() if key.startswith("up")]
        assert [name in level for level in levels] == [name != "running_mean"] * 4


@pytest.mark.slow
def test_an_iteration_moves_the_decoders_alone():
    trained = iteration.run(get_config("tiny"), ("Igen",))
    assert trained.moved("unets") > 0.9 and trained.moved("discriminator") == 0
    trained_names = trained.after.params["unets"]["unet_encoder"]["texture_unet"]
    assert not [name for name in trained_names if name.startswith(("body_", "input_layer_"))]
    jax.tree.map(np.testing.assert_array_equal, trained.before.buffers, trained.after.buffers)
    assert all(np.isfinite(value) for value in trained.metrics.values())
