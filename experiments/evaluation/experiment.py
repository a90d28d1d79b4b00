"""What tells one table or figure from another; everything else they share."""

from collections.abc import Mapping
from typing import NamedTuple

NO_NUMBERS = "not in the text"  # of the paper, which shows some tables and curves as pictures

CSIM = ("csim[arcface_ir_se50]", "csim[faceplugin]", "csim[dlib]")
AKD = ("akd[interocular]",)
# what the paper measures on pictures whose truth is known -> how we measure it
RECONSTRUCTION = {
    "psnr": ("psnr",),
    "l1": ("l1",),
    "lpips": ("lpips[alex]",),
    "csim": CSIM,
    "akd": AKD,
}
REENACTMENT = {"csim": CSIM, "akd": AKD}  # without a truth
PARAMETERS = "parameters_million"  # counted at the paper's size, whatever is run
PRIOR = {"fid": ("fid",), "akd": AKD, "csim": CSIM, PARAMETERS: ()}
LPIPS = {"lpips": ("lpips[alex]",)}  # what the paper's curves show
# no column of the paper, no weights: beside a whole table's measures, and beside LPIPS alone
OURS_ALONE = ("ssim", "gradient_distance")
PLAIN = ("psnr", "l1", *OURS_ALONE)


class Part(NamedTuple):
    """One block of columns.

    Attributes:
        name: as in paper_numbers.json.
        protocol: a name in protocols.PROTOCOLS.
        measures: the paper's measure -> names in metrics.registry.METRICS, of which those are
            used that can be made.
        besides: metrics that the paper does not have.
        of_prior: avatars are random identities of a generator; there are no sources.
    """

    name: str
    protocol: str
    measures: Mapping[str, tuple[str, ...]]
    besides: tuple[str, ...] = ()
    of_prior: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """All of them, by name."""
        return (*(name for names in self.measures.values() for name in names), *self.besides)


class Experiment(NamedTuple):
    """A table or a figure of the paper.

    Attributes:
        name: of its module and its files.
        title: what it shows.
        parts: evaluated one after the other; one that has several numbers of source frames
            gives a curve.
        systems: names of line_up, in the paper's order.
        every_count: its picture has a column for every number of source frames.
        views: our avatars are also drawn from the sides, and their geometry.
    """

    name: str
    title: str
    parts: tuple[Part, ...]
    systems: tuple[str, ...]
    every_count: bool = False
    views: bool = False
