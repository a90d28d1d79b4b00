"""Figure 7: portraits by the encoders of Table 4.

Run: ./avatar python -m experiments.figure7 --out out/figure7  [--smoke]
"""

import sys

from experiments.evaluation import driver
from experiments.evaluation.experiment import LPIPS, PLAIN, Experiment, Part

EXPERIMENT = Experiment(
    "figure7",
    "Figure 7: portraits by the encoders of Table 4",
    (Part("celeba", "portraits", LPIPS, PLAIN),),
    ("ours", "without_second_stage", "offsets", "posed_texture"),
)

if __name__ == "__main__":
    sys.exit(driver.main(EXPERIMENT))
