"""Stage 2 of training: E_latent. Run: ./avatar train --config configs/latent.py

Variants: `paper` (paper A.2.1; what it does not say is as released), `released` (TRAINING B),
`tiny` (for tests).
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = "paper") -> ConfigDict:
    """Settings of the run, by variant."""
    base.check_variant(variant, "paper", "released", "tiny")
    config = base.get_config(
        stage="latent",
        preset="paper",
        data="data/ffhq",
        weights="",  # what stage gan has shipped
        batch_size=16,  # paper A.2.1: 16 on 4 GPUs; released: 32 on 8 (TRAINING B)
        microbatch=4,
        # the paper says 2 days on four RTX 3090, the release trains until it is stopped
        total_steps=200_000,
        settings=dict(
            encoder_rate=1e-4,  # paper A.2.1; released: 4e-5 (TRAINING B)
            encoder_betas=(0.5, 0.999),  # TRAINING B
            discriminator_rate=1e-4,  # paper A.2.1; released: 2e-5 (TRAINING B)
            discriminator_betas=(0.9, 0.999),  # TRAINING B: PyTorch's defaults
            # l1, lpips, id: paper Eq. 2 and TRAINING B alike; w_delta: TRAINING B only
            real=dict(w_discriminator=1.0, w_delta=1e-3, l1=1.0, lpips=0.5, id=0.25),
            # TRAINING B; the paper does not mention made people in this stage
            synthetic=dict(
                w_discriminator=1.0,
                w_delta=1e-3,
                l1=1.0,
                lpips=0.5,
                raw_l1=1.0,
                tri=1e-3,
                lr_lpips=1.0,
            ),
            synthetic_truncation=0.6,  # TRAINING B
            code_truncation=0.8,  # TRAINING B
            pool=50,  # TRAINING B
            r1_gamma=10.0,  # TRAINING B
            r1_every=16,  # TRAINING B
            loss_resolution=256,  # TRAINING B
            batch_norm="batch",  # TRAINING B: the encoder is in train mode
            critics=dict(
                perceptual="alex",  # TRAINING B; needs files, see train/critics.py
                perceptual_files=(),
                identity="arcface",  # TRAINING B; needs a file
                identity_file="",
            ),
            trunk_file="",  # TRAINING B, paper A.3: model_ir_se50.pth
            remat=True,  # the same numbers from less memory
        ),
    )
    if variant == "released":
        own = dict(encoder_rate=4e-5, discriminator_rate=2e-5)
        config.update(dict(batch_size=32, settings=own))
    elif variant == "tiny":
        base.shrink(config)
    return config
