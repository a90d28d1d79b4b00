"""Stage 3 of training: E_tex and E_tri on photos. Run: ./avatar train --config configs/oneshot.py

Variants: `paper` (paper A.2.2; what it does not say is as released), `released` (TRAINING C),
`tiny` (for tests).
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = "paper") -> ConfigDict:
    """Settings of the run, by variant."""
    base.check_variant(variant, "paper", "released", "tiny")
    config = base.get_config(
        stage="oneshot",
        # the paper's U-Nets; "paper_oneshot" has the released transformers (SPEC 9.4)
        preset="paper_oneshot_unet",
        data="data/ffhq",
        weights="",  # what stage latent has shipped
        batch_size=16,  # paper A.2.2 and TRAINING C
        microbatch=4,  # paper: 4 GPUs; released: 8
        total_steps=250_000,  # the paper says 5 days on four RTX 3090
        settings=dict(
            rate=1e-4,  # paper A.2.2; released: 2.5e-5 (TRAINING C)
            betas=(0.5, 0.999),  # TRAINING C
            discriminator_rate=1e-3,  # paper A.2.2 and TRAINING C
            discriminator_betas=(0.0, 0.99),  # TRAINING C
            # paper 3.3: "simultaneously"; released: in turn
            alternate=False,
            trunks=True,  # paper A.2.2 trains both networks; released: decoders only
            # TRAINING C; l1, lpips, adv also paper Eq. 3
            real=dict(l1=1.0, lpips=1.0, raw_l1=1.0, lr_lpips=1.0, adv=0.1),
            # texture: paper Eq. 3; released: 0 (TRAINING C). lr_lpips: TRAINING C only
            synthetic=dict(
                l1=1.0, lpips=1.0, raw_l1=1.0, tri=1e-3, texture=1e-3, lr_lpips=1.0, adv=0.1
            ),
            synthetic_truncation=0.8,  # TRAINING C
            # the paper projects the picture; released: the UV colours of the photo that
            # lent its pose ("dataset", TRAINING C)
            synthetic_texture="projected",
            loss_resolution=256,  # TRAINING C
            adversarial_from=200_000,  # paper A.2.2: 4 days without, 1 with; released: 0
            discriminator_group=4,  # GAN stage's; released: 2 (TRAINING C)
            r1_gamma=1.0,  # TRAINING C
            r1_every=16,  # TRAINING C
            judged="synthetic",  # paper A.2.2; released: "shown" (TRAINING C)
            # TRAINING C: the decoders and E_latent are in train mode. The released trunks
            # are too; here they always normalise with stored statistics.
            batch_norm="batch",
            critics=dict(
                perceptual="alex",  # TRAINING B; needs files, see train/critics.py
                perceptual_files=(),
                identity="off",  # TRAINING C: weight 0
                identity_file="",
            ),
            remat=True,  # the same numbers from less memory
        ),
    )
    if variant == "released":
        own = dict(
            rate=2.5e-5, alternate=True, trunks=False, synthetic_texture="dataset", judged="shown"
        )
        own |= dict(adversarial_from=0, discriminator_group=2, synthetic=dict(texture=0.0))
        config.update(dict(microbatch=2, settings=own))
    elif variant == "tiny":
        base.shrink(config, rate=1e-3, adversarial_from=0, discriminator_group=2)
    return config
