"""Figure 4: random heads of the generator and of Next3D's, driven by clips.

Run: ./avatar python -m experiments.figure4 --out out/figure4  [--smoke]
"""

import sys

from experiments.evaluation import driver
from experiments.evaluation.experiment import AKD, Experiment, Part

EXPERIMENT = Experiment(
    "figure4",
    "Figure 4: random heads of the generator and of Next3D's, driven by clips",
    (Part("prior", "prior", {"akd": AKD}, of_prior=True),),
    ("our_prior", "next3d"),
)

if __name__ == "__main__":
    sys.exit(driver.main(EXPERIMENT))
