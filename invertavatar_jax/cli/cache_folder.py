"""Where compiled programs are kept, so that only the first run of a verb compiles.

A kept program is code that later runs, so the folder must be the user's alone. It is chosen by
the program, never by the library: who imports invertavatar_jax sets JAX's own options.
"""

import contextlib
import hashlib
import os
import platform
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

from invertavatar_jax import __version__

FOLDER = "JAX_COMPILATION_CACHE_DIR"
# JAX would keep programs only that take a second to compile; small ones are many.
THRESHOLD = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
MOST_BYTES = 2 * 2**30
_FOLDER_NAME = re.compile(r"\d[\w.]*-jax[\w.]+-[0-9a-f]{8}")
OTHERS_WRITE = 0o022  # mode bits


def choose() -> str | None:
    """Chooses JAX's folder of compiled programs, in the environment, before JAX is imported.

    A folder that the environment names already stays; a process that has imported JAX keeps
    its settings.

    Returns a sentence for the user where no folder is safe; then nothing is kept.
    """
    if "jax" in sys.modules:
        return None
    os.environ.setdefault(THRESHOLD, "0")
    if os.environ.get(FOLDER):
        return None
    folder = _caches() / "invertavatar_jax" / _name()
    try:
        fault = _make(folder.parent) or _make(folder)
    except OSError as error:
        fault = f"{folder} cannot be made ({error.strerror})"
    if fault is not None:
        return f"Compiled programs are not kept: {fault}; set {FOLDER} to a folder of your own."
    with contextlib.suppress(FileNotFoundError):  # another run trims it as well
        _trim(folder, MOST_BYTES)
    os.environ[FOLDER] = str(folder)
    return None


def _caches() -> Path:
    """The user's folder for what can be made again (XDG base directories)."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


def _name() -> str:
    """One folder per version of the program and of JAX, and per kind of processor."""
    return f"{__version__}-jax{metadata.version('jax')}-{_processor()}"


def _processor() -> str:
    """A sum of the processor's instructions: a home may be shared by several machines."""
    known = [platform.machine(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    # the first processor's model and instructions, as x86 and Arm name them
    for name in ("model name", "flags", "Features", "CPU implementer", "CPU part"):
        known.append(next((line for line in lines if line.startswith(name)), ""))
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:8]


def _make(folder: Path) -> str | None:
    """Makes a folder of the user's, unless it is there; says what is wrong with one that is."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        _remove_older(folder)
    if not folder.is_dir():
        return f"{folder} is no folder"
    if os.name != "posix":
        return None
    if {folder.lstat().st_uid, folder.stat().st_uid} != {os.getuid()}:
        return f"{folder} belongs to another user"
    if folder.stat().st_mode & OTHERS_WRITE:
        return f"other users can write to {folder}"
    return None


def _remove_older(made: Path) -> None:
    """Removes what other versions kept beside a new folder; other processors' stays."""
    version = made.name.rpartition("-")[0]
    for other in made.parent.iterdir():
        ours = _FOLDER_NAME.fullmatch(other.name) and not other.name.startswith(f"{version}-")
        if ours and not other.is_symlink():
            shutil.rmtree(other, ignore_errors=True)


def _trim(folder: Path, most: int) -> None:
    """Removes the files that were used longest ago, where all have more than `most` bytes.

    JAX's own bound reads a file per kept program whenever it keeps another one, and fails
    for good when a process was killed at the wrong moment.
    """
    with os.scandir(folder) as entries:
        found = [(entry.stat(follow_symlinks=False), entry.path) for entry in entries]
    size = sum(facts.st_size for facts, _ in found)
    for facts, path in sorted(found, key=lambda one: max(one[0].st_atime, one[0].st_mtime)):
        if size <= most:
            return
        Path(path).unlink(missing_ok=True)
        size -= facts.st_size
