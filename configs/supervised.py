"""Supervised training on synthetic heads. Run: ./avatar train --config configs/supervised.py

No released stage: it stands in for the adversarial prior and the encoder stages together
until those are trained, and gives the weights that ship with the package.

Variants: `small` makes the default weights; the names of settings.AGGREGATORS train U-Nets whose
aggregator is drawn anew, all from the default weights and for as long, so that they can be
compared; `offsets` and `posed_texture` do so with the encoders of the paper's Table 4; `tiny` is
for tests.
"""

from ml_collections import ConfigDict

from configs import base
from invertavatar_jax.settings import AGGREGATORS
from invertavatar_jax.weights import bundled_path

_COMPARED = (*AGGREGATORS, "offsets", "posed_texture")


def get_config(variant: str = "small") -> ConfigDict:
    """Settings of the run, by variant."""
    base.check_variant(variant, "small", "tiny", *_COMPARED)
    config = base.get_config(
        stage="supervised",
        preset="small",
        data="data/synthetic_heads",
        held_out=16,
        batch_size=3,
        microbatch=3,
        total_steps=3000,
        log_every=10,
        validate_every=200,
        image_every=200,
        checkpoint_every=200,
        keep=2,
        settings=dict(
            trained="",  # begins every path
            redrawn="",
            sources=2,
            targets=4,
            colour_jitter=1.0,
            tracking_noise=1.0,
            rate=8e-4,
            warmup_steps=100,
            decay_steps=3000,
            clip=0.5,
            average_decay=0.995,
            losses=dict(
                image=1.0,
                raw=0.5,
                gradient=1.0,
                mask=0.25,
                raw_mask=0.5,
                coarse=0.5,
                head=1.5,
                keep_skip=0.6,
            ),
        ),
    )
    if variant == "tiny":
        config.update(dict(preset="tiny", total_steps=4, batch_size=2, microbatch=2, held_out=2))
        config.update(dict(validate_every=2, image_every=0, checkpoint_every=2, log_every=1))
        config.update(dict(settings=dict(sources=1, warmup_steps=1, decay_steps=4)))
    if variant in _COMPARED:
        preset = "small" if variant == AGGREGATORS[0] else f"small_{variant}"
        config.update(dict(preset=preset, weights=str(bundled_path()), total_steps=200))
        config.update(dict(validate_every=100, image_every=200, checkpoint_every=50))
        changed = dict(trained="unet_encoder/", redrawn=".*/conv_gru/", sources=4, targets=2)
        config.update(dict(settings=dict(changed, rate=4e-4, warmup_steps=25, decay_steps=200)))
    return config
