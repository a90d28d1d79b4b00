"""`python -m invertavatar_jax VERB ...` is the command line."""

import sys

from invertavatar_jax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
