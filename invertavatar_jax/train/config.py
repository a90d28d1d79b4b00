"""A training run's settings: from a ConfigDict of configs/ to a frozen dataclass."""

import dataclasses

from ml_collections import ConfigDict

from invertavatar_jax import settings
from invertavatar_jax.train.supervised import LossWeights


@dataclasses.dataclass(frozen=True)
class Training:
    """One run."""

    stage: str  # "supervised"
    preset: str
    data: str  # folder of shards
    held_out: int  # identities at the end that are validated on, never trained on
    sources: int  # frames that the encoders see at most
    targets: int  # frames compared, per identity
    colour_jitter: float
    tracking_noise: float
    batch_size: int  # identities
    total_steps: int
    rate: float
    warmup_steps: int
    clip: float
    average_decay: float
    losses: LossWeights
    seed: int
    validate_every: int
    checkpoint_every: int


def parse(config: ConfigDict) -> Training:
    """Checks names and types.

    Raises:
        ValueError: on an unknown or a missing key, or a preset that does not exist.
    """
    values = config.to_dict()
    fields = {field.name for field in dataclasses.fields(Training)}
    if wrong := sorted(fields ^ set(values)):
        raise ValueError(f"settings unknown or missing: {', '.join(wrong)}")
    settings.preset(values["preset"])
    return Training(**values | {"losses": LossWeights(**values["losses"])})
