"""What a run computes: its stage on its mesh, every program compiled when first used."""

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from invertavatar_jax import settings
from invertavatar_jax.compile import cost, hlo
from invertavatar_jax.pure import Weights
from invertavatar_jax.train import mesh as meshes
from invertavatar_jax.train import processes
from invertavatar_jax.train import step as steps
from invertavatar_jax.train.config import Training, stage_module
from invertavatar_jax.train.stage import Phase, Stage
from invertavatar_jax.train.state import TrainState, make_state


class Program:
    """The functions of a run. Runs of one process that share it compile them once."""

    def __init__(
        self,
        training: Training,
        weights: Weights | None = None,
        devices: Sequence[Any] | None = None,
    ):
        """Programs compile when first called.

        Args:
            weights: to begin with.
            devices: of the mesh; None for all.

        Raises:
            ValueError: the mesh has more devices than there are, or does not divide the
                microbatches; or no rule says where a parameter is kept.
        """
        self.model = settings.preset(training.preset)
        module = stage_module(training.stage)
        stage = module.make(self.model, training.settings, training.batching)
        self.stage = _with_products(stage, training.products)
        self.placing = steps.Placing(
            meshes.make_mesh(training.mesh.data, training.mesh.model, devices),
            training.batch_size // training.microbatch,
            training.deterministic,
            training.sharding,
        )
        if training.deterministic and any(spec for _, spec in training.sharding):
            raise ValueError("deterministic: expected parameters whole on every device")
        self._weights, self._seed = weights, training.seed
        self.shapes = jax.eval_shape(self._begin)
        self.shardings = steps.state_shardings(self.shapes, self.placing)
        self.advance = steps.make_advance(self.stage, self.placing, self.shapes)
        self.measure = steps.make_measure(self.stage.measure, self.placing, self.shapes)
        self.show = jax.jit(
            lambda state, batch, key: self.stage.show(
                state.params, state.average, state.buffers, batch, key
            ),
            out_shardings=NamedSharding(self.placing.mesh, PartitionSpec()),
        )
        self._steps: dict[tuple[str, Hashable], steps.Step] = {}
        self._flops: dict[tuple[str, Hashable], float] = {}  # of those that have run

    def _begin(self) -> TrainState:
        key = jax.random.key(self._seed)
        return make_state(self.stage, self.placing.microbatches, key, self._weights)

    def begin(self) -> TrainState:
        """The state before the first iteration, on the mesh."""
        return jax.device_put(self._begin(), self.shardings)

    def due(self, step: int) -> list[tuple[int, Phase, steps.Step]]:
        """Number, phase and program of what the iteration after `step` others runs."""
        variant = self.stage.variant(step)
        return [
            (number, phase, self.step(phase, variant))
            for number, phase in enumerate(self.stage.phases(variant))
            if phase.due(step)
        ]

    def step(self, phase: Phase, variant: Hashable) -> steps.Step:
        """The phase as built for a variant, compiled."""
        name = phase.name, variant
        if name not in self._steps:
            group = self.stage.groups[phase.group]
            self._steps[name] = steps.make_step(phase, group, self.placing, self.shapes)
        return self._steps[name]

    def compiled(self) -> dict[str, int]:
        """How many programs were compiled, by phase and what it was built for."""
        return {
            f"{name} {variant}" if variant is not None else name: step.differentiate._cache_size()
            for (name, variant), step in self._steps.items()
        }

    def iterate(
        self, state: TrainState, drawn: list[Any], key: jax.Array, step: int
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One iteration: the phases that are due, each on its batch, then the averages.

        Args:
            drawn: the iteration's batches.
            key: of the run.
            step: iterations done; what state.step says, without waiting for it.
        """
        metrics: dict[str, jax.Array] = {}
        variant = self.stage.variant(step)
        for number, phase, run in self.due(step):
            inputs = state, drawn[phase.draw], jax.random.fold_in(key, number)
            if (phase.name, variant) not in self._flops:
                self._flops[phase.name, variant] = self._prepare(run, inputs)
            state, found = run(*inputs)
            metrics |= found
        return self.advance(state), metrics

    def flops(self, step: int) -> float:
        """Of one device in the iteration after `step` others, which has run."""
        variant = self.stage.variant(step)
        return sum(self._flops[phase.name, variant] for _, phase, _ in self.due(step))

    def _prepare(self, run: steps.Step, inputs: tuple[TrainState, Any, jax.Array]) -> float:
        """Compiles a phase in all processes before one of them waits for another's numbers.

        Returns:
            twice the multiplications of one device.
        """
        lowered, turns = run.differentiate.lower(*inputs), 1
        if isinstance(run.differentiate, steps.Alike):
            run.differentiate.compile(*inputs)
            turns = run.differentiate.here  # of a loop that does not say how often it runs
        else:
            lowered.compile()
        processes.wait_for_all("compiled")
        counted = turns * cost.count(hlo.parse(lowered.as_text("hlo"))).flops
        return counted / self.placing.mesh.shape["model"]


def _with_products(stage: Stage, products: str) -> Stage:
    """The stage, traced with that kind of matrix products: see config.PRODUCTS."""

    def precisely(function: Callable) -> Callable:
        @functools.wraps(function)
        def traced(*args):
            with jax.default_matmul_precision(settings.COMPUTE[products][1]):
                return function(*args)

        return traced

    def phases(variant: Hashable) -> tuple[Phase, ...]:
        changed = lambda phase: phase._replace(loss=precisely(phase.loss))
        return tuple(changed(phase) for phase in stage.phases(variant))

    show, measure = precisely(stage.show), precisely(stage.measure)
    return stage._replace(phases=phases, show=show, measure=measure)
