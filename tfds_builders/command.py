"""The command lines of the builders."""

import argparse
import contextlib
import errno
import io
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from invertavatar_jax.data.training import open_records
from invertavatar_jax.errors import UserError
from tfds_builders.frame_records import PRESETS, ReleasedBuilder

USER_ERROR = 2  # the exit code of bad input, as argparse's own


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
    return guard(parser.prog, lambda: build(make(), manual=options.data))


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


def guard(program: str, work: Callable[[], Path]) -> int:
    """Runs a builder; what the user can repair is told in one sentence."""
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        folder = work()
        records = open_records(folder)
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"{program}: there is no space left on the disk.", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print(f"{program}: stopped; nothing was left behind.", file=sys.stderr)
        return 130
    print(f"{folder}: {len(records)} records of {len(records.clips)} clips.")
    return 0
