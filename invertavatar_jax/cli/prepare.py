"""`avatar prepare`: photos and videos -> a data set in the released layout."""

import argparse
import importlib.util
import logging
import shutil
from pathlib import Path
from typing import Any

from invertavatar_jax.cli import options
from invertavatar_jax.cli.console import Console
from invertavatar_jax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SOURCE..., --out, limits of frames, and Beam's options."""
    parser.add_argument("sources", nargs="+", help="photos, or videos, or folders of them")
    parser.add_argument("--out", required=True, metavar="DATA", help="folder of the data set")
    parser.add_argument(
        "--frames", type=int, metavar="N", help="of each video at most, evenly spread (all)"
    )
    parser.add_argument(
        "--least-side",
        type=int,
        default=128,
        metavar="PX",
        help="pixels of the source that a crop's side must have (128)",
    )
    parser.add_argument(
        "--face", type=int, metavar="N", help="which face to follow, by size; 0 is the largest"
    )
    parser.add_argument(
        "--runner", metavar="NAME", help="of Apache Beam, for a cluster (in this process)"
    )
    parser.add_argument(
        "--beam",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another option of Beam; may be repeated",
    )


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Prepares what is not finished yet, and closes the data set with labels and reports."""
    options.at_least_one(args.frames, "--frames")
    options.at_least_one(args.least_side, "--least-side")
    out = options.output_folder(args.out)
    if importlib.util.find_spec("apache_beam") is None:
        raise UserError(
            "Preparing needs Apache Beam, which is not installed: "
            "./avatar setup requirements-prepare.txt installs it."
        )
    device = console.device(args.device)
    from invertavatar_jax.data.preparing import clip, reports, sources

    found = sources.find_sources(args.sources)
    waiting = [source for source in found if not _is_finished(source, out)]
    if len(waiting) < len(found):
        console.say(f"{len(found) - len(waiting)} of {len(found)} clips are finished already")
    settings = clip.Options(str(out.resolve()), args.frames, args.least_side, args.face)
    flags = [f"--runner={args.runner}"] if args.runner else []
    try:
        with console.step("prepare"):
            _pipeline().run(waiting, settings, [*flags, *(f"--{option}" for option in args.beam)])
    finally:
        shutil.rmtree(out / clip.STAGE, ignore_errors=True)
    report = reports.read_report(out)
    told = {name: report[name] for name in ("clips", "frames", "rejected_frames", "reasons")}
    return {"data": str(out), **told, "device": device, "seconds": console.seconds}


def _pipeline() -> Any:
    """The pipeline's module; Beam warns of clouds that are not installed when it is imported."""
    logging.disable(logging.WARNING)
    try:
        from invertavatar_jax.data.preparing import pipeline
    finally:
        logging.disable(logging.NOTSET)
    return pipeline


def _is_finished(source: Any, out: Path) -> bool:
    """Whether a clip is there.

    Raises:
        UserError: a clip of this name was made of another source.
    """
    from invertavatar_jax.data.preparing import reports

    record = reports.read_record(out, source.name)
    if record is not None and record["source"] != source.path:
        raise UserError(
            f"Clip {source.name!r} of {out} was made of {record['source']}, not of {source.path}: "
            "rename the file, or prepare it into another folder."
        )
    return record is not None
