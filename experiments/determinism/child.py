"""Training runs as child processes: the program's own command line, started quickly.

A server process imports the program once, and every child is a fork of it that has not touched
a device: what a user's process does after its imports, a child does too.
"""

import fcntl
import json
import multiprocessing
import os
import pathlib
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from invertavatar_jax.train.config import Training, to_dict

_F_SETPIPE_SZ = 1031  # of Linux
_ROOM = 1 << 20  # bytes of output that a child may leave unread
_PRELOADED = (
    "invertavatar_jax.cli.main",
    "invertavatar_jax.train.loop",
    "invertavatar_jax.train.runs",
    "experiments.determinism.child",
)


class Ended(NamedTuple):
    """A child that has ended."""

    code: int  # exit code; minus the signal that killed it
    output: str
    answer: Any  # what the work returned; None if it did not get there


class Child:
    """A process that does some work."""

    def __init__(self, work: Any, *args: Any, environment: Mapping[str, str] | None = None):
        """Starts it.

        Args:
            work: a function of a module.
            environment: set before a device is touched.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_PRELOADED))
        self._output, output = context.Pipe(duplex=False)
        self._answer, answer = context.Pipe(duplex=False)
        if sys.platform == "linux":
            fcntl.fcntl(output.fileno(), _F_SETPIPE_SZ, _ROOM)
        call = (work, args, dict(environment or {}), output, answer)
        self.process = context.Process(target=_run, args=call, daemon=True)
        self.process.start()
        output.close()
        answer.close()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.is_alive()

    def join(self, seconds: float = 600.0) -> Ended:
        """Waits for its end; a child that takes longer is killed."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        answer = None
        try:
            if self._answer.poll():
                answer = self._answer.recv()
        except EOFError:
            pass
        text = b""
        while piece := os.read(self._output.fileno(), _ROOM):
            text += piece
        self._answer.close()
        self._output.close()
        assert self.process.exitcode is not None
        return Ended(self.process.exitcode, text.decode(errors="replace"), answer)


def _run(work: Any, args: Sequence[Any], environment: dict[str, str], output, answer) -> None:
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    os.environ.update(environment)
    import jax

    # two devices' programs would wait for each other on few cores
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    try:
        answer.send(work(*args))
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        sys.exit(1)


def train(config: str, out: str, *options: str) -> int:
    """`avatar train`; the process ends with its exit code."""
    from invertavatar_jax.cli.main import main

    code = main(["train", "--config", config, "--out", out, *options])
    sys.stdout.flush()
    if code:
        sys.exit(code)
    return code


def end_state(run: str) -> dict[str, Any]:
    """Step and SHA-256 of all that the newest checkpoint of a run holds."""
    import numpy as np

    from invertavatar_jax.train import checksum, manifest

    restored = _restore(run)
    position = np.frombuffer(manifest.canonical(restored.position).encode(), np.uint8)
    state = restored.state._asdict()
    each = {name: checksum.sha256(tree) for name, tree in state.items()}
    whole = checksum.sha256({"state": state, "position": position})
    return {"step": int(restored.state.step), "sha256": whole, "parts": each}


def differences(run: str, other: str) -> dict[str, Any]:
    """How the newest checkpoints of two runs differ: leaf by leaf, and in the worst one."""
    import jax
    import numpy as np

    states = [_restore(one).state for one in (run, other)]
    left, right = (jax.tree_util.tree_leaves_with_path(state) for state in states)
    leaves: dict[str, float] = {}
    for (path, a), (_, b) in zip(left, right, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if (a != b).any():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            leaves[name] = float(np.abs(a - b).max())
    params = {name: size for name, size in leaves.items() if name.startswith("params")}
    worst = max(params, key=params.__getitem__, default=None)
    return {
        "leaves": len(leaves),
        "of": len(left),
        "params_most": params[worst] if worst else 0.0,
        "params_where": worst,
        "first": dict(list(leaves.items())[:5]),
    }


def _restore(run: str) -> Any:
    from invertavatar_jax.cli.train import read_weights
    from invertavatar_jax.train import runs
    from invertavatar_jax.train.program import Program

    training = runs.settings_of(run, same_mesh=False)
    weights = read_weights(training.weights) if training.weights else None
    return runs.restore(run, Program(training, weights))


def write_config(training: Training, folder: pathlib.Path) -> str:
    """Writes a configuration of a run's settings; returns what --config takes."""
    handle, name = tempfile.mkstemp(prefix="config-", suffix=".py", dir=folder)
    text = json.dumps(to_dict(training))
    with os.fdopen(handle, "w") as file:
        file.write(
            "import json\n\nfrom ml_collections import ConfigDict\n\n\n"
            f"def get_config():\n    return ConfigDict(json.loads({text!r}))\n"
        )
    return name
