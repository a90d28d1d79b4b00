"""Stage 4 of training: E_tex and E_tri on clips. Run: ./avatar train --config configs/fewshot.py

Variants: `paper` (paper A.2.3; what it does not say is as released), `released` (TRAINING D),
`tiny` (for tests); and `paper` with another of settings.AGGREGATORS, by its name.
"""

from ml_collections import ConfigDict

from configs import base
from invertavatar_jax.aggregate.registry import window_of
from invertavatar_jax.settings import AGGREGATORS


def get_config(variant: str = "paper") -> ConfigDict:
    """Settings of the run, by variant."""
    base.check_variant(variant, "paper", "released", "tiny", *AGGREGATORS[1:])
    config = base.get_config(
        stage="fewshot",
        preset="paper",
        data="data/vfhq",
        held_out=50,
        weights="",  # what stage oneshot has shipped
        batch_size=8,  # clips: paper A.2.3 and TRAINING D
        microbatch=1,  # 8 GPUs in both
        frames=32,  # paper A.2.3: up to 32; released: 4 (TRAINING D, frm_per_vid)
        total_steps=200_000,  # the paper says 4 days on eight RTX 3090
        settings=dict(
            chunk=4,  # paper A.2.3: at most 4 frames in a forward pass
            rendered=4,  # paper A.2.3 and TRAINING D
            rate=1e-4,  # paper A.2.2, "the same strategy"; released: 2.5e-5 (TRAINING D)
            betas=(0.5, 0.999),  # TRAINING D
            discriminator_rate=1e-3,  # paper A.2.2 and TRAINING D
            discriminator_betas=(0.0, 0.99),  # TRAINING C
            # paper 3.3: "simultaneously"; released: in turn
            alternate=False,
            trunks=False,  # paper A.2.3 and TRAINING D
            real=dict(l1=1.0, lpips=1.0),  # TRAINING D
            # texture: paper A.2.3, "the same terms"; released: none (TRAINING D)
            synthetic=dict(
                l1=1.0, lpips=1.0, raw_l1=1.0, tri=1e-3, texture=1e-3, lr_lpips=1.0, adv=0.1
            ),
            synthetic_truncation=0.6,  # TRAINING D
            # the paper projects the picture; released: the UV colours of the clip that
            # lent its poses ("dataset", TRAINING D)
            synthetic_texture="projected",
            loss_resolution=256,  # TRAINING D
            adversarial_from=150_000,  # paper A.2.3: 3 days without, 1 with; released: 0
            discriminator_group=1,  # TRAINING D
            r1_gamma=1.0,  # TRAINING D
            r1_every=16,  # paper, as its other stages; the release meant it
            r1_always=False,  # released: in every iteration (TRAINING D, "bug")
            batch_norm="batch",  # TRAINING D
            critics=dict(
                perceptual="alex",  # TRAINING B; needs files, see train/critics.py
                perceptual_files=(),
                identity="off",  # TRAINING D has no such term
                identity_file="",
            ),
            remat=True,  # the same numbers from less memory
        ),
    )
    if variant == "released":
        own = dict(
            rate=2.5e-5, alternate=True, synthetic_texture="dataset", synthetic=dict(texture=0.0)
        )
        own |= dict(adversarial_from=0, r1_always=True)
        config.update(dict(frames=4, settings=own))
    elif variant == "tiny":
        base.shrink(config, rate=1e-3, adversarial_from=0, chunk=2, rendered=2)
        config.frames = 4
    elif variant in AGGREGATORS:
        config.preset = f"paper_{variant}"
        if window := window_of(variant):
            config.update(dict(frames=window, settings=dict(chunk=window, rendered=window)))
    return config
