"""The one kind of error that is the user's to repair, and how programs tell it."""

import errno
import sys
from collections.abc import Callable

USER_ERROR = 2  # the exit code of bad input, as argparse's own
INTERRUPTED = 130


class UserError(ValueError):
    """Bad input or surroundings, told in one sentence: what, expected, found, what to do.

    The command line prints the sentence alone and exits with code 2.
    """


def tell(program: str, work: Callable[[], int]) -> int:
    """Runs a program's work and returns the exit code; what users can repair is one sentence.

    Args:
        program: its name, which begins the sentence.
    """
    try:
        return work()
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"{program}: there is no space left on the disk.", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print(f"{program}: stopped.", file=sys.stderr)
        return INTERRUPTED
