"""What `import invertavatar_jax as ia` gives."""

import subprocess
import sys

import pytest


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_imports_nothing_heavy():
    program = "import sys, invertavatar_jax; print([m for m in ('jax', 'av') if m in sys.modules])"
    assert python(program) == "[]"


def test_public_names_are_there_and_others_are_not():
    program = """
import invertavatar_jax as ia
from invertavatar_jax.fit import camera
print(callable(ia.load), callable(ia.fit), ia.fit.camera is camera, ia.Model.__name__)
try: ia.nothing
except AttributeError as error: print(error)
"""
    first, second = python(program).splitlines()
    assert first == "True True True Model"
    assert second.endswith("has no attribute 'nothing'")


def test_calling_the_stage_tracks(monkeypatch):
    import invertavatar_jax as ia
    from invertavatar_jax.fit import track

    monkeypatch.setattr(track, "fit", lambda sources, **options: ((sources, options), {}))
    assert ia.fit("clip.mp4", face=1) == ("clip.mp4", {"face": 1})


def test_wrong_weights_are_told(tmp_path):
    import invertavatar_jax as ia
    from invertavatar_jax.errors import UserError

    with pytest.raises(UserError, match="no weights file"):
        ia.load(tmp_path / "none.safetensors")
