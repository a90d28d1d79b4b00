"""The long-sequence study: one page of answers and plots, and one JSON file with its manifest.

Run: ./avatar python -m experiments.long_sequences --out DIR --weights-dir W
     (--smoke: a minute, no meaning; --parts and --systems: some, added to the result in DIR)
"""

import argparse
import dataclasses
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.evaluation import people, report
from experiments.evaluation.line_up import draw_weights
from experiments.long_sequences import page
from experiments.long_sequences.parts import PARTS
from experiments.long_sequences.study import SMOKE, Amounts, Row, Study
from experiments.long_sequences.systems import FIRST, System
from invertavatar_jax import frames, settings
from invertavatar_jax import weights as weights_files
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import files, tensors
from invertavatar_jax.fit import morphable

SEED = 0
NAME = "long_sequences"
IN_SMOKE = ("conv_gru", "att_fusion")
RANDOM = "random weights, no meaning"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the parts that are asked for, and writes the result and the page."""
    options = parse(argv)
    begun = time.monotonic()
    amounts = SMOKE if options.smoke else Amounts(people=options.people)
    systems, about, missing = open_systems(options)
    sizes = next(iter(systems.values())).sizes
    side = sizes.renderer.image_resolution
    count = amounts.moments + amounts.rest
    drawn = max(side, 64)  # smaller pictures have no person in them
    folder = options.out / f"people_{amounts.people}x{count}x{drawn}"
    clips = people.rendered(folder, amounts.people, count, drawn, side)
    geometry = frames.geometry(morphable.load_head_model(), sizes)
    study = Study(systems, clips.clips, geometry, amounts, SEED)
    made = read_before(options, clips.about, about)
    about = made.get("systems", {}) | about
    missing = {name: why for name, why in missing.items() if name not in about}
    given = {**vars(options), "amounts": dataclasses.asdict(amounts)}
    given = {k: v if k in ("preset", "amounts") else str(v) for k, v in given.items()}
    noted = report.begin(given, clips.about, SEED)
    for name in options.parts:
        clock = time.monotonic()
        new = [{"part": name, **_rounded(row)} for row in PARTS[name].run(study)]
        seconds = time.monotonic() - clock
        found, others, earlier = add(made, name, new)
        said = {"answer": PARTS[name].answer(found), "seconds": round(earlier + seconds, 1)}
        print(f"{name} ({seconds:.1f} s): {said['answer']}")
        made = report.make(
            NAME,
            noted,
            systems=about,
            not_run={"systems": missing, "metrics": {}},
            parts={**made.get("parts", {}), name: said},
            rows=[*others, *found],
            seconds=made.get("seconds", 0.0) + time.monotonic() - begun,
        )
        begun = time.monotonic()
        report.write(options.out / f"{NAME}.json", made)  # now, as later parts take long
    files.write_text(options.out / f"{NAME}.html", page.write(made, PARTS))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line.

    Raises:
        UserError: a part or a system does not exist.
    """
    title = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{NAME}", description=title)
    folder = {"type": pathlib.Path, "metavar": "DIR"}
    names = {"type": lambda text: tuple(text.split(",")), "metavar": "A,B"}
    parser.add_argument("--out", required=True, **folder)
    parser.add_argument("--weights-dir", help="a NAME.safetensors for each system", **folder)
    parser.add_argument("--preset", choices=("small", "tiny"), default="small")
    parser.add_argument("--smoke", action="store_true", help="preset tiny, little of everything")
    parser.add_argument("--systems", default=None, help=",".join(settings.AGGREGATORS), **names)
    parser.add_argument("--parts", default=tuple(PARTS), help=",".join(PARTS), **names)
    parser.add_argument("--people", type=int, default=Amounts.people)
    options = parser.parse_args(argv)
    if options.smoke:
        options.preset = "tiny"
    if options.systems is None:
        options.systems = IN_SMOKE if options.smoke else settings.AGGREGATORS
    for option, known in (("parts", PARTS), ("systems", settings.AGGREGATORS)):
        for name in getattr(options, option):
            if name not in known:
                raise UserError(f"--{option} {name}: expected some of {', '.join(known)}.")
    return options


def open_systems(
    options: argparse.Namespace,
) -> tuple[dict[str, System], dict[str, str], dict[str, str]]:
    """Systems by name, what their weights are, and which were not trained.

    Raises:
        UserError: a file holds another aggregator or other sizes, or there is none at all.
    """
    systems, about, missing = {}, {}, {}
    for name in options.systems:
        path = _weights(options, name)
        if path is None and options.preset == "tiny":
            sizes = settings.with_aggregator(settings.preset("tiny"), name)
            systems[name], about[name] = System(name, sizes, draw_weights(sizes)), RANDOM
        elif path is None:
            missing[name] = f"not trained: no {name}.safetensors in {options.weights_dir}"
        else:
            arrays, sizes, _ = weights_files.load(path)
            if sizes.one_shot or sizes.texture_decoder.aggregator != name:
                raise UserError(f"{path}: expected a model with the aggregator {name}.")
            systems[name] = System(name, sizes, arrays)
            about[name] = f"weights {tensors.sha256(path)[:16]}"
    if len({settings.with_aggregator(one.sizes, FIRST) for one in systems.values()}) > 1:
        raise UserError(f"{options.weights_dir}: expected models of equal sizes.")
    if not systems:
        raise UserError(f"{options.weights_dir}: expected a NAME.safetensors for a system.")
    return systems, about, missing


def _weights(options: argparse.Namespace, name: str) -> pathlib.Path | None:
    if options.weights_dir is None:
        ours = options.preset == "small" and name == FIRST
        return weights_files.bundled_path() if ours else None
    path = options.weights_dir / f"{name}.safetensors"
    return path if path.exists() else None


def read_before(options: argparse.Namespace, data: Any, systems: dict[str, str]) -> dict[str, Any]:
    """The result in the folder, which parts and systems are added to; {} for none.

    Raises:
        UserError: it was made of other people, or of other weights of the same systems.
    """
    path = options.out / f"{NAME}.json"
    if not path.exists():
        return {}
    before = json.loads(path.read_text(encoding="utf-8"))
    of_both = {name: one for name, one in before["systems"].items() if name in systems}
    then = {"preset": before["preset"], "data": before["data"], "systems": of_both}
    now = {"preset": options.preset, "data": data, "systems": {k: systems[k] for k in of_both}}
    for field, value in json.loads(json.dumps(now)).items():
        if then[field] != value:
            raise UserError(
                f"{path}: its {field} is {then[field]}, expected {value}: choose another --out."
            )
    return before


def add(made: Mapping[str, Any], part: str, new: list[Row]) -> tuple[list[Row], list[Row], float]:
    """A part's rows with those that an earlier run has of other systems.

    Returns:
        the part's rows, the rows of other parts, and the seconds that the earlier run took.
    """
    seen = {row.get("system") for row in new}
    before = made.get("rows", [])
    others = [row for row in before if row["part"] != part]
    kept = [row for row in before if row["part"] == part and row.get("system") not in seen]
    earlier = made["parts"][part]["seconds"] if kept else 0.0
    place = {name: i for i, name in enumerate(settings.AGGREGATORS)}
    found = sorted([*kept, *new], key=lambda row: place.get(row.get("system"), 0))
    return found, others, earlier


def _rounded(row: Row) -> Row:
    return {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in row.items()}


if __name__ == "__main__":
    main()
