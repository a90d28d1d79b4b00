"""What the stages' configurations share; each states what is its own, and may change these."""

from typing import Any

from ml_collections import ConfigDict


def check_variant(variant: str, *known: str) -> None:
    """Refuses a variant that a configuration does not have.

    Raises:
        ValueError: naming those that it has.
    """
    if variant not in known:
        raise ValueError(f"variant {variant!r}: expected one of {', '.join(known)}")


def get_config(**own: Any) -> ConfigDict:
    """A run's settings: those of train.config.Training, `own` among them."""
    shared = dict(
        held_out=64,
        weights="",
        frames=1,
        seed=0,
        deterministic=False,
        products="float32",  # or "tensorfloat32": accelerators shorten the operands of matrices
        mesh=dict(data=-1, model=1),  # -1: all devices that are left
        sharding=((r".*", ()),),  # parameters are whole on every device
        log_every=50,
        validate_every=2_000,
        image_every=2_000,
        checkpoint_every=2_000,
        keep=3,
    )
    return ConfigDict(shared | own)


def shrink(config: ConfigDict, **settings: Any) -> None:
    """Makes an encoder stage small and short enough for tests.

    Args:
        settings: of the stage, that differ besides.
    """
    config.update(dict(preset="tiny_paper", data="data/records", held_out=2, total_steps=4))
    config.update(dict(batch_size=4, microbatch=2, log_every=1, validate_every=2))
    config.update(dict(image_every=2, checkpoint_every=2))
    # 32 pixels are too few for LPIPS and ArcFace; stored statistics are those of users' runs
    own = dict(loss_resolution=32, batch_norm="stored", remat=False)
    own["critics"] = dict(perceptual="gradients", identity="off")
    config.update(dict(settings=own | settings))
