"""Table 4: the encoders, each part left out or replaced.

Run: ./avatar python -m experiments.table4 --out out/table4  [--smoke]
"""

import sys

from experiments.evaluation import driver
from experiments.evaluation.experiment import OURS_ALONE, RECONSTRUCTION, Experiment, Part

EXPERIMENT = Experiment(
    "table4",
    "Table 4: the encoders, each part left out or replaced",
    (Part("celeba", "portraits", RECONSTRUCTION, OURS_ALONE),),
    ("ours", "without_second_stage", "offsets", "posed_texture"),
)

if __name__ == "__main__":
    sys.exit(driver.main(EXPERIMENT))
