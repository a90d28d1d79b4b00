"""Rules of the repository, read from its files: imports, sizes, names, and the README."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "invertavatar_jax"
STAGES = ("fit", "encode", "aggregate", "generate", "rasterize", "render", "supervise")
SHARED = {"ops", "types", "pure", "layers", "settings", "errors"}  # what any stage may import
FILE_LINES, FUNCTION_LINES, PARAMETERS = 400, 60, 12


def tracked(pattern: str) -> list[Path]:
    """Files that git knows or would add: what a clone of the next commit holds."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def python_files() -> list[Path]:
    return [path for path in tracked("*.py")]


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports anywhere, in full."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def inside(path: Path, *places: str) -> bool:
    return any((ROOT / place) == path or (ROOT / place) in path.parents for place in places)


def test_every_file_parses():
    for path in python_files():
        ast.parse(path.read_text(encoding="utf-8"), str(path))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_no_other_stage(stage):
    for path in python_files():
        if not inside(path, f"invertavatar_jax/{stage}"):
            continue
        for name in imports(path):
            if name.startswith("invertavatar_jax."):
                part = name.split(".")[1]
                assert part in SHARED | {stage}, f"{path.relative_to(ROOT)} imports {name}"


ONLY_IN = {
    "grain": ("invertavatar_jax/data", "tfds_builders", "tests/data"),
    "tensorflow_datasets": ("invertavatar_jax/data", "tfds_builders", "tests/data"),
    "orbax": (
        "invertavatar_jax/train/checkpoint.py",
        "invertavatar_jax/train/processes.py",  # a barrier that waits as long as it is told
        "tests/train",
    ),
    "mediapipe": ("invertavatar_jax/fit/landmarks.py",),
    "ml_collections": (
        "invertavatar_jax/settings.py",
        "invertavatar_jax/train/config.py",
        "configs",
    ),
    "jax.experimental.pallas": ("invertavatar_jax/rasterize/pallas.py", "tests/rasterize"),
    "torch": ("experiments/benchmarks",),
    "tensorflow": (),
    "onnx": (),
    "pickle": ("invertavatar_jax/convert", "tests/convert"),
}


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_where_it_belongs(library):
    for path in python_files():
        if inside(path, *ONLY_IN[library]):
            continue
        for name in imports(path):
            used = name == library or name.startswith(library + ".")
            assert not used, f"{path.relative_to(ROOT)} imports {library}"


def test_operations_have_no_parameters():
    for path in python_files():
        if inside(path, "invertavatar_jax/ops"):
            assert not any(name.startswith("flax") for name in imports(path)), path


def test_shared_modules_import_no_stage():
    for path in python_files():
        if not inside(path, *(f"invertavatar_jax/{n}{e}" for n in SHARED for e in ("", ".py"))):
            continue
        for name in imports(path):
            if name.startswith("invertavatar_jax."):
                assert name.split(".")[1] in SHARED, f"{path.relative_to(ROOT)} imports {name}"


def test_no_name_says_nothing():
    empty = {"utils", "util", "helpers", "helper", "misc", "common"}
    for path in python_files():
        if inside(path, "invertavatar_jax"):
            assert not empty & {path.stem, *path.relative_to(ROOT).parts}, path


def test_files_and_functions_stay_short():
    """The style aims at 300, 40 and 7; beyond these numbers a reader is lost."""
    over = []
    for path in python_files():
        if not inside(path, "invertavatar_jax") or inside(path, "invertavatar_jax/rasterize"):
            continue
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > FILE_LINES:
            over.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                count = len(node.args.args) + len(node.args.kwonlyargs)
                if length > FUNCTION_LINES or count > PARAMETERS:
                    where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                    over.append(f"{where}: {length} lines, {count} parameters")
    assert not over, "\n".join(over)


def test_nothing_is_left_unfinished():
    marks = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    for path in python_files():
        if inside(path, "invertavatar_jax", "configs", "tfds_builders", "experiments"):
            found = marks.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path.relative_to(ROOT)}: {found.group()}"


def test_no_path_of_one_machine_is_written_down():
    machine = re.compile(r"(?<![\w.])/(work|home|root|Users)/\w")
    for pattern in ("*.py", "*.md", "*.sh", "*.toml", "*.txt", "avatar", "check", ".ci/run"):
        for path in tracked(pattern):
            found = machine.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path.relative_to(ROOT)}: {found.group()}"


def test_no_reference_data_and_no_large_file_is_committed():
    for path in tracked("*"):
        size = path.stat().st_size
        assert size <= 25e6, f"{path.relative_to(ROOT)}: {size / 1e6:.0f} MB"
        reference = "golden" in path.name and path.suffix in (".npz", ".pkl", ".json")
        assert not reference, path


def test_the_requirements_are_pinned():
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().splitlines():
            line = line.split("#")[0].strip()
            if line and not line.startswith("-r"):
                assert re.fullmatch(r"[\w.-]+(\[\w+\])?==[\w.]+", line), f"{name}: {line}"
                assert not line.startswith(("onnx==", "torch==", "tensorflow=="))


def documents() -> list[Path]:
    return [path for path in (ROOT / "README.md", *tracked("docs/*.md")) if path.exists()]


def test_every_command_of_the_documents_exists():
    from invertavatar_jax.cli.main import VERBS

    known = {*VERBS, "setup", "python", "VERB"}
    for path in documents():
        text = path.read_text(encoding="utf-8")
        for verb in re.findall(r"^(?:\$ )?\./avatar ([\w-]+)", text, re.MULTILINE):
            assert verb in known, f"{path.relative_to(ROOT)}: ./avatar {verb}"
        for verb in re.findall(r"`\./avatar ([\w-]+)", text):
            assert verb in known, f"{path.relative_to(ROOT)}: ./avatar {verb}"


def test_every_file_that_a_document_links_exists():
    for path in documents():
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.relative_to(ROOT)}: {link}"


def test_the_readme_names_every_verb():
    from invertavatar_jax.cli.main import VERBS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [verb for verb in VERBS if f"./avatar {verb}" not in text]


def test_the_python_of_the_readme_parses():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        ast.parse(block)
