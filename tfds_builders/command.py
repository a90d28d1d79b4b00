"""The command lines of the builders."""

import argparse
import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from invertavatar_jax.data.training import open_records
from invertavatar_jax.errors import UserError, tell
from tfds_builders.frame_records import PRESETS, ReleasedBuilder


def main(builder: type[ReleasedBuilder], argv: Sequence[str] | None = None) -> int:
    """Makes frame records of a folder in the released layout, and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"python -m tfds_builders.{builder.name}",
        description=f"{builder.DESCRIPTION} Turns it from the released layout into records.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of images512x512")
    parser.add_argument("--preset", choices=PRESETS, default="paper", help="sizes of the records")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    make = lambda: builder(config=options.preset, data_dir=options.out, file_format="array_record")
    return run(parser.prog, lambda: build(make(), manual=options.data))


def build(builder: tfds.core.DatasetBuilder, manual: Path | None = None) -> Path:
    """Builds a data set, whole or not at all, and returns its folder.

    Raises:
        UserError: the input is missing or damaged, or another data set is there.
    """
    folder = Path(builder.data_dir)
    if folder.is_dir():
        raise UserError(f"{folder} is there already: delete it to make it again.")
    if manual is not None and not manual.is_dir():
        raise UserError(f"There is no folder {manual} in the released layout: check the path.")
    tfds.disable_progress_bar()  # it cannot know how many examples there will be
    config = tfds.download.DownloadConfig(manual_dir=manual, try_download_gcs=False)
    with tempfile.TemporaryDirectory() as downloads, contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_dir=downloads, download_config=config)
    return folder


def run(program: str, build_it: Callable[[], Path]) -> int:
    """Builds a data set, says what is in it, and returns the exit code."""
    logging.getLogger("absl").setLevel(logging.ERROR)

    def work() -> int:
        folder = build_it()
        records = open_records(folder)
        print(f"{folder}: {len(records)} records of {len(records.clips)} clips.")
        return 0

    return tell(program, work)
