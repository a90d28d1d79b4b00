"""What a run was started with: settings, code, packages, devices, data. One entry a start."""

import datetime
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import jax

import invertavatar_jax
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import files

FILE = "manifest.json"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
# what changes how programs are compiled, and on what they run
_ENVIRONMENT = ("XLA_", "JAX_", "LIBTPU_", "NCCL_", "NPROC", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32")
_CACHE = "JAX_COMPILATION_CACHE_DIR"  # a place of one machine, and no change
# entries that tell one start from another, or stand in the manifest a second time
_OF_ONE_START = {"started", "command", "config", "config_sha256", "from_step"}


def make_manifest(
    config: Mapping[str, Any],
    *,
    data_fingerprint: Any,
    mesh_shape: Mapping[str, int],
    seeds: Mapping[str, int],
    from_step: int = 0,
) -> dict[str, Any]:
    """One start of a run, as a value that is the same after a way through JSON.

    Args:
        config: the training's settings as nested dicts.
        from_step: of the checkpoint that the start goes on from.

    Raises:
        TypeError, ValueError: a value that JSON does not have.
    """
    devices = jax.devices()
    manifest = {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": _command(),
        "config": config,
        "config_sha256": hashlib.sha256(canonical(config).encode()).hexdigest(),
        "code": {"commit": _commit(), "sources_sha256": _sources_sha256()},
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "devices": {"kind": devices[0].device_kind, "count": len(devices)},
        "processes": jax.process_count(),
        "mesh": dict(mesh_shape),
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(_ENVIRONMENT) and name != _CACHE
        },
        "data": data_fingerprint,
        "seeds": dict(seeds),
        "from_step": from_step,
    }
    return json.loads(canonical(manifest))


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _command() -> str:
    """How the process was started, as a person types it in the checkout's folder."""
    name, *rest = sys.argv
    path, root = pathlib.Path(name).resolve(), _package().parent
    if path.name == "__main__.py":
        path = path.parent
    if path == _package():
        return shlex.join(["./avatar", *rest])
    module = path.relative_to(root).with_suffix("").parts if path.is_relative_to(root) else ()
    if module and all(part.isidentifier() for part in module):
        return shlex.join(["./avatar", "python", "-m", ".".join(module), *rest])
    return shlex.join(["python", name, *rest])


def _package() -> pathlib.Path:
    return pathlib.Path(invertavatar_jax.__file__).parent


def _commit() -> str | None:
    """The checkout's commit; None where the package is not in a checkout of its own."""
    root = _package().parent
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _sources_sha256() -> str:
    """Of names and contents of the package's Python files: a commit does not tell of edits."""
    digest, root = hashlib.sha256(), _package()
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def write_manifest(folder: str | pathlib.Path, manifest: Mapping[str, Any]) -> None:
    """Adds an entry to the folder's manifest.json, whole or not at all.

    Raises:
        UserError: the file there is not a manifest, or cannot be written.
    """
    files.write_json(pathlib.Path(folder) / FILE, [*read_manifests(folder), dict(manifest)])


def read_manifests(folder: str | pathlib.Path) -> list[dict[str, Any]]:
    """The entries of the folder's manifest.json, oldest first; none where there is no file.

    Raises:
        UserError: the file is not a manifest.
    """
    path = pathlib.Path(folder) / FILE
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}): restore it, or move it away.") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: expected a list of entries, one a start: move the file away.")
    return entries


def compare_config(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between the settings of two manifests: a sentence each."""
    return list(_differences(old.get("config", {}), new.get("config", {}), "config."))


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two manifests: a sentence each, the settings first."""
    rest = lambda manifest: {k: v for k, v in manifest.items() if k not in _OF_ONE_START}
    return compare_config(old, new) + list(_differences(rest(old), rest(new), ""))


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _differences(old.get(name), new.get(name), f"{path}{name}.")
    elif old != new:
        told = lambda value: "not set" if value is None else json.dumps(value)
        yield f"{path.rstrip('.')} was {told(old)} and is now {told(new)}."
