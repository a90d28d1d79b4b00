"""Supervised training on synthetic heads. Run: ./avatar train --config configs/supervised.py

No released stage: it stands in for the adversarial prior and the encoder stages together
until those are trained, and gives the weights that ship with the package.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = "small") -> ConfigDict:
    """Settings of the run: `small` makes the default weights, `tiny` is for tests."""
    base.check_variant(variant, "small", "tiny")
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
    return config
