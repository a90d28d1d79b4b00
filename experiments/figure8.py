"""Figure 8: photos driven by other people's clips.

Run: ./avatar python -m experiments.figure8 --out out/figure8  [--smoke]
"""

import sys

from experiments.evaluation import driver
from experiments.evaluation.experiment import REENACTMENT, Experiment, Part

EXPERIMENT = Experiment(
    "figure8",
    "Figure 8: photos driven by other people's clips",
    (Part("celeba_cross", "celeba_cross", REENACTMENT),),
    ("ours", "our_pti", "textured_mesh", "otavatar", "next3d_pti", "styleheat", "rome"),
)

if __name__ == "__main__":
    sys.exit(driver.main(EXPERIMENT))
