"""Makes frame records of VFHQ.

Run: python -m tfds_builders.vfhq --data LAYOUT --preset paper --out DIR
"""

import sys

from tfds_builders.command import main
from tfds_builders.vfhq.vfhq_dataset_builder import Builder

if __name__ == "__main__":
    sys.exit(main(Builder))
