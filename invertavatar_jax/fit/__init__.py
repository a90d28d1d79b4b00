"""Stage 1, fit: photos and videos -> identity, expression, gaze, camera and crop per frame.

The package can be called: `fit("clip.mp4")` is `fit.track.fit("clip.mp4")` without its report.
"""

import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from invertavatar_jax.types import FaceFit


class _Callable(types.ModuleType):
    """The paper's step and the user's verb have one name: a folder here, a call there."""

    def __call__(self, sources: Any, **options: Any) -> "FaceFit":
        """Tracks; see fit.track.fit for sources, options and errors."""
        from invertavatar_jax.fit import track

        return track.fit(sources, **options)[0]


sys.modules[__name__].__class__ = _Callable
