"""Training in several processes: which one this is, and where they meet."""

import argparse

from invertavatar_jax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--processes, --process and --coordinator."""
    group = parser.add_argument_group("several processes")
    group.add_argument("--processes", type=int, default=1, help="how many take part (1)")
    group.add_argument("--process", type=int, default=0, help="number of this one (0)")
    group.add_argument(
        "--coordinator", metavar="HOST:PORT", help="where process 0 listens for the others"
    )


def join(args: argparse.Namespace) -> None:
    """Joins the other processes; call it before anything touches a device.

    Raises:
        UserError: the three options do not fit together.
    """
    if args.processes == 1:
        return
    if not args.coordinator or not 0 <= args.process < args.processes:
        raise UserError(
            f"--processes {args.processes} needs --coordinator HOST:PORT and --process from 0 to "
            f"{args.processes - 1} (got {args.process})."
        )
    import jax

    # on a CPU; accelerators have their own
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(args.coordinator, args.processes, args.process)


def leave(args: argparse.Namespace) -> None:
    """Waits until all others have come to their ends: they end with errors if one is missing."""
    if args.processes > 1:
        import jax

        jax.distributed.shutdown()
