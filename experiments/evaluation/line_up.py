"""Which systems take part in an experiment, by name, and why some cannot."""

import copy
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments.evaluation import pivotal, systems
from experiments.evaluation.outside import Recorded
from invertavatar_jax import avatar, networks, settings
from invertavatar_jax import weights as weights_files
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import tensors
from invertavatar_jax.pure import Weights

# made of our weights, unless weights of their own are given
OURS: dict[str, Callable[[systems.Bench], systems.System]] = {
    "ours": systems.ours,
    "one_shot": systems.first_frame,
    "one_shot_averaged": lambda bench: systems.averaged(bench, 1),
    "without_second_stage": systems.coarse,
    "textured_mesh": systems.textured_mesh,
    "our_prior": systems.random_heads,
    "our_pti": pivotal.pivotal,
}
# trained as the presets SIZE_NAME
TRAINED = ("offsets", "posed_texture", "conv_fusion", "att_fusion")
OUTSIDE = (
    "next3d",
    "next3d_faceverse",
    "next3d_pti",
    "otavatar",
    "styleheat",
    "rome",
)  # of other people


class LineUp(NamedTuple):
    """The systems of an experiment."""

    systems: dict[str, systems.System | Recorded]
    about: dict[str, str]  # of each, with its weights
    not_run: dict[str, str]  # a system that is missing -> what it needs


class Workshop:
    """Opens models and systems and keeps them: equal sizes share what is compiled."""

    def __init__(self, preset: str):
        """Opens none yet.

        Args:
            preset: "tiny" stands for random weights where no file is named.
        """
        self.preset = preset
        self._models: dict[str, avatar.Model] = {}
        self._benches: dict[int, systems.Bench] = {}  # by the model's id
        self._systems: dict[tuple[str, str | None], systems.System] = {}
        self._prepared: dict[settings.Model, systems.Preparation] = {}

    def model(self, path: str | None, variant: str = "") -> avatar.Model:
        """The model of a file, or the preset's own; variant: "" or one of TRAINED."""
        name = path or variant
        if name not in self._models:
            self._models[name] = self._open(path, variant)
        return self._models[name]

    def bench(self, model: avatar.Model) -> systems.Bench:
        """The model with the preparation of its sizes."""
        if id(model) not in self._benches:
            seen = _what_frames_need(model.sizes)
            if seen not in self._prepared:
                self._prepared[seen] = systems.Preparation(model.head, seen)
            self._benches[id(model)] = systems.Bench(model, self._prepared[seen])
        return self._benches[id(model)]

    def system(self, name: str, path: str | None) -> systems.System:
        """The system of that name with the weights of a file, or the preset's own."""
        if (name, path) not in self._systems:
            model = self.model(path, name if path is None and name in TRAINED else "")
            window = networks.window(model.sizes)
            make = OURS.get(name, systems.ours)
            if make is pivotal.pivotal and self.preset == "tiny":
                make = functools.partial(pivotal.pivotal, steps=1)
            if window and make is systems.ours:
                make = functools.partial(systems.averaged, window=window)
            self._systems[name, path] = make(self.bench(model))
        return self._systems[name, path]

    def about(self, path: str | None) -> str:
        """Which weights these are."""
        if path is None and self.preset == "tiny":
            return "random weights, no meaning"
        return tensors.sha256(pathlib.Path(path) if path else weights_files.bundled_path())[:16]

    def _open(self, path: str | None, variant: str) -> avatar.Model:
        if path is None and self.preset == "tiny":
            sizes = settings.preset("_".join(filter(None, ("tiny", variant))))
            return avatar.Model(sizes, draw_weights(sizes))
        loaded = avatar.load(path)
        for other in self._models.values():
            if other.sizes == loaded.sizes:
                same = copy.copy(other)
                same.weights = loaded.weights
                return same
        return loaded


def draw_weights(sizes: settings.Model) -> Weights:
    """Random weights for trying a program, none of them at a special value."""
    rng = np.random.default_rng(0)

    def leaf(path, found) -> np.ndarray:
        noise = rng.standard_normal(found.shape, np.float32)
        if len(found.shape) > 1:
            return noise / np.float32(np.sqrt(np.prod(found.shape[:-1])))
        return np.float32(path[-1].key not in ("bias", "running_mean")) + np.float32(0.1) * noise

    return jax.tree_util.tree_map_with_path(leaf, networks.shapes(sizes))


def line_up(
    names: tuple[str, ...],
    workshop: Workshop,
    weights: str | None,
    files: Mapping[str, str],
    folders: Mapping[str, str],
    without: Sequence[str] = (),
) -> LineUp:
    """Opens the systems that an experiment names, and those that the user adds.

    Args:
        weights: file of our system; None for the preset's own.
        files: system -> file of its weights; names that are not known are added.
        folders: system -> folder of its pictures; see outside.py.
        without: systems that are left out.

    Raises:
        UserError: a file or a folder is missing, or a name is given twice.
    """
    if twice := sorted(set(files) & set(folders)):
        raise UserError(f"{twice[0]} is given as weights and as pictures: choose one.")
    found = LineUp({}, {}, {})
    known = dict.fromkeys((*names, *files, *folders))
    if wrong := sorted(set(without) - set(known)):
        raise UserError(f"--without {wrong[0]}: expected one of {', '.join(known)}.")
    for name in known:
        if name in without:
            found.not_run[name] = "to be asked for: --without left it out"
            continue
        if name in folders:
            one, of = Recorded(name, pathlib.Path(folders[name])), "pictures, made elsewhere"
        elif name in OUTSIDE:
            found.not_run[name] = f"its pictures: --outside {name}=FOLDER"
            continue
        elif name == "our_prior" and name not in files and workshop.preset != "tiny":
            found.not_run[name] = f"weights that stage gan trained: --baseline {name}=FILE"
            continue
        elif name in TRAINED and name not in files and workshop.preset != "tiny":
            found.not_run[name] = f"weights of configs/supervised.py:{name}: --baseline {name}=FILE"
            continue
        else:
            path = files.get(name, weights if name in OURS else None)
            one = workshop.system(name, path)
            of = "no weights" if name == "textured_mesh" else f"weights {workshop.about(path)}"
        found.systems[name] = one
        found.about[name] = f"{one.about}; {of}"
    return found


def _what_frames_need(sizes: settings.Model) -> settings.Model:
    """Sizes that are equal for all models that read the same frames and drives."""
    plain, trunk = settings.Decoder(), settings.Trunk()
    return dataclasses.replace(
        sizes,
        texture_decoder=plain,
        triplane_decoder=plain,
        texture_trunk=trunk,
        triplane_trunk=trunk,
        triplane_offsets=False,
        posed_texture=False,
        one_shot=False,
    )
