"""The Beam pipeline: clips are tracked and written on their own, reports are combined.

    Create(sources) | track | write | combine -> labels, report, contact sheet

Runs in this process unless a runner is named. Workers of a cluster must see the sources and the
data set's folder under the same paths.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

# Beam is an optional package: the verb says how to install it.
import apache_beam as beam  # pyright: ignore[reportMissingImports]
from apache_beam.options.pipeline_options import (  # pyright: ignore[reportMissingImports]
    PipelineOptions,
)

from invertavatar_jax import frames, settings
from invertavatar_jax.data.preparing import clip, reports
from invertavatar_jax.data.preparing.sources import Source
from invertavatar_jax.fit import landmarks, morphable


class Track(beam.DoFn):
    """Source -> clip.Tracked."""

    def __init__(self, options: clip.Options):
        """Takes what can be sent to a worker."""
        self._options = options

    def setup(self) -> None:
        """Opens the detector once for a worker."""
        self._network = landmarks.landmark_network()

    def process(self, element: Source) -> Iterator[Any]:
        """Tracks one source."""
        yield clip.track_source(element, self._options, self._network)


class Write(beam.DoFn):
    """clip.Tracked -> clip.Record."""

    def __init__(self, options: clip.Options):
        """Takes what can be sent to a worker."""
        self._options = options

    def setup(self) -> None:
        """Prepares the head once for a worker."""
        self._geometry = frames.geometry(morphable.load_head_model(), settings.preset("paper"))

    def process(self, element: clip.Tracked) -> Iterator[Any]:
        """Writes one clip."""
        record = clip.write_clip(element, self._options, self._geometry)
        kept, rejected = len(record["frames"]), len(record["rejected"])
        print(f"{record['name']}: {kept} frames, {rejected} rejected", file=sys.stderr, flush=True)
        yield record["name"]  # the record itself is on disk, where a later run finds it too


def run(sources: Sequence[Source], options: clip.Options, flags: Sequence[str] = ()) -> None:
    """Prepares the sources and closes the data set.

    Args:
        flags: of Beam, as "--runner=FlinkRunner".
    """
    with beam.Pipeline(options=PipelineOptions(list(flags))) as pipeline:
        _ = (
            pipeline
            | "clips" >> beam.Create(list(sources))
            | "track" >> beam.ParDo(Track(options))
            | "write" >> beam.ParDo(Write(options))
            | "combine" >> beam.combiners.ToList()
            | "finish" >> beam.Map(lambda names, out: reports.finish(out), options.out)
        )
