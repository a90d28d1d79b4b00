"""Table 1: the generator beside Next3D's.

Run: ./avatar python -m experiments.table1 --out out/table1  [--smoke]
"""

import sys

from experiments.evaluation import driver
from experiments.evaluation.experiment import PRIOR, Experiment, Part

EXPERIMENT = Experiment(
    "table1",
    "Table 1: the generator beside Next3D's",
    (Part("prior", "prior", PRIOR, of_prior=True),),
    ("our_prior", "next3d"),
)

if __name__ == "__main__":
    sys.exit(driver.main(EXPERIMENT))
