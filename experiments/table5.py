"""Table 5: the generator beside Next3D's with the same head model.

Run: ./avatar python -m experiments.table5 --out out/table5  [--smoke]
"""

import sys

from experiments.evaluation import driver
from experiments.evaluation.experiment import PRIOR, Experiment, Part

EXPERIMENT = Experiment(
    "table5",
    "Table 5: the generator beside Next3D's with the same head model",
    (Part("prior", "prior", PRIOR, of_prior=True),),
    ("our_prior", "next3d_faceverse"),
)

if __name__ == "__main__":
    sys.exit(driver.main(EXPERIMENT))
