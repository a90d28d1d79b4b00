"""Adversarial training of the generator. Run: ./avatar train --config configs/gan.py

`paper` has the paper's numbers and, where it gives none, the released code's; `released` has
those of the released script (TRAINING A), which always continues EG3D's weights, so that
nothing is faded in but the neural resolution. `small` and `tiny` begin at random, on rendered
people: about an hour of two cores, and a test. Images are those of the data set, counted with
repetitions.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = "paper") -> ConfigDict:
    """Settings of the run: `paper`, `released`, `small` or `tiny`."""
    base.check_variant(variant, "paper", "released", "small", "tiny")
    batch = {"paper": 16, "released": 32}.get(variant, 8)  # paper: 4 GPUs; script: 8
    images = {"small": 14_400, "tiny": 6_400}.get(variant, 25_000_000)  # script; paper: 4 days
    config = base.get_config(
        stage="gan",
        preset="paper",
        data="data/ffhq",
        weights="weights/eg3d.safetensors",  # ffhqrebalanced512-128.pkl, converted
        batch_size=batch,
        microbatch=4,  # of one GPU, both
        total_steps=images // batch,
        log_every=10,
        settings=dict(
            generator_rate=0.0025,  # script; paper: as EG3D
            discriminator_rate=0.002,
            betas=(0.0, 0.99),
            epsilon=1e-8,
            gamma=8.0,  # script; paper: not stated
            penalty_every=16,
            density_weight=0.25,
            density_every=4,
            density_points=1_000,
            density_spread=0.004,
            swap_end=0.5,
            swap_fade_images=0.0,  # EG3D from random weights: 1e6
            blur_sigma=10.0,  # paper: "at the beginning"; script: 0, as it resumes
            blur_fade_images=batch * 200_000 / 32,
            neural_start=64,
            neural_end=128,
            # paper: 64 for 2 days, then 128 for 2 days, so the nearest of two of a fade
            # over the whole run
            neural_fade_images=float(images),
            neural_resolutions=(64, 128),
            average_images=batch * 10_000 / 32,
            average_ramp=0.0,  # EG3D from random weights: 0.05
            w_average_keep=0.998,
            landmarks=True,  # paper; script: off
            group=4,
            replace_nonfinite=False,  # script: on; here the run stops
            remat=True,
        ),
    )
    if variant == "released":
        # the neural resolution: every whole number there, each a program of its own here
        own = dict(neural_fade_images=1e6, neural_resolutions=tuple(range(64, 129, 8)))
        own |= dict(blur_sigma=0.0, landmarks=False, replace_nonfinite=True)
        config.update(dict(settings=own))
    if variant in ("small", "tiny"):
        config.update(dict(preset=f"{variant}_paper", data="data/synthetic_heads", weights=""))
        config.update(dict(settings=dict(gamma=1.0, average_ramp=0.05, remat=False)))
    if variant == "small":
        config.update(dict(held_out=4, microbatch=8, log_every=20, validate_every=250))
        config.update(dict(image_every=250, checkpoint_every=250))
        own = dict(density_points=500, average_images=1_000.0, swap_fade_images=8_000.0)
        own |= dict(blur_sigma=0.0, neural_start=32, neural_end=32, neural_resolutions=(32,))
        config.update(dict(settings=own))
    if variant == "tiny":
        config.update(dict(held_out=2, microbatch=2, log_every=5, validate_every=200))
        config.update(dict(image_every=200, checkpoint_every=100))
        own = dict(density_points=100, average_images=500.0, group=2)
        own |= dict(swap_fade_images=images / 4, blur_sigma=2.0, blur_fade_images=images / 2)
        own |= dict(neural_start=8, neural_end=16, neural_resolutions=(8, 16))
        config.update(dict(settings=own))
    return config
