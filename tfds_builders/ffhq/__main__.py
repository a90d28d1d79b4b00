"""Makes frame records of FFHQ.

Run: python -m tfds_builders.ffhq --data LAYOUT --preset paper --out DIR
"""

import sys

from tfds_builders.command import main
from tfds_builders.ffhq.ffhq_dataset_builder import Builder

if __name__ == "__main__":
    sys.exit(main(Builder))
