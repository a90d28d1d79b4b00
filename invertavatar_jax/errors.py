"""The one kind of error that is the user's to repair."""


class UserError(ValueError):
    """Bad input or surroundings, told in one sentence: what, expected, found, what to do.

    The command line prints the sentence alone and exits with code 2.
    """
