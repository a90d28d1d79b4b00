"""Checkpoints of a run: the training state and the position in the data, in one step."""

import pathlib

import jax
from orbax.checkpoint.experimental import v1 as ocp

from invertavatar_jax.train.state import TrainState


class Checkpoints:
    """The newest checkpoints of a run's folder. Use as a context manager."""

    def __init__(self, folder: str | pathlib.Path, keep: int = 2):
        """Opens or makes `folder`; unfinished checkpoints in it are ignored."""
        policy = ocp.training.preservation_policies.LatestN(keep)
        self._inner = ocp.training.Checkpointer(
            pathlib.Path(folder).absolute(), preservation_policy=policy
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._inner.close()

    def save(self, state: TrainState, data_position: dict) -> None:
        """Writes both under the state's step; the call returns when they are on disk."""
        step = int(state.step)
        if any(entry.step == step for entry in self._inner.checkpoints):
            return
        self._inner.save_checkpointables(step, {"state": state._asdict(), "data": data_position})

    def restore(self, like: TrainState) -> tuple[TrainState, dict] | None:
        """The newest state and data position; None if there is none.

        Args:
            like: shapes and types of the state; it is placed on the first device.
        """
        if self._inner.latest is None:
            return None
        place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), like._asdict()
        )
        loaded = self._inner.load_checkpointables(None, {"state": abstract, "data": None})
        return TrainState(**loaded["state"]), loaded["data"]
