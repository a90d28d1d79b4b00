"""The folder of compiled programs: the user's alone, per version and processor, bounded."""

import os
import re
import sys

import pytest

from invertavatar_jax.cli import cache_folder


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """An empty XDG cache folder, and a process that has not imported JAX yet."""
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # set, then deleted: what `choose` sets is taken back as well
    for name in (cache_folder.FOLDER, cache_folder.THRESHOLD):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


def made(caches):
    """The folder as it is chosen."""
    assert cache_folder.choose() is None
    return caches / "invertavatar_jax" / os.path.basename(os.environ[cache_folder.FOLDER])


def test_the_folder_is_private_and_named_by_version_and_processor(caches):
    folder = made(caches)
    assert str(folder) == os.environ[cache_folder.FOLDER]
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700
    assert re.fullmatch(r"[\d.]+-jax[\d.]+-[0-9a-f]{8}", folder.name)
    assert os.environ[cache_folder.THRESHOLD] == "0"


def test_without_an_xdg_folder_it_is_in_the_home(caches, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(caches))
    assert cache_folder.choose() is None
    assert os.environ[cache_folder.FOLDER].startswith(f"{caches}/.cache/invertavatar_jax/")


def test_the_users_choice_wins(caches, monkeypatch):
    monkeypatch.setenv(cache_folder.FOLDER, "elsewhere")
    monkeypatch.setenv(cache_folder.THRESHOLD, "3")
    assert cache_folder.choose() is None
    assert os.environ[cache_folder.FOLDER] == "elsewhere"
    assert os.environ[cache_folder.THRESHOLD] == "3"
    assert not list(caches.iterdir())


def test_a_process_with_jax_keeps_its_settings(caches, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", cache_folder)
    assert cache_folder.choose() is None
    assert cache_folder.FOLDER not in os.environ and not list(caches.iterdir())


def write_for_all(folder):
    folder.chmod(0o777)


def link_to_a_shared_one(folder):
    folder.rmdir()
    (shared := folder.parent.parent / "shared").mkdir()
    shared.chmod(0o777)
    folder.symlink_to(shared)


def file_in_its_place(folder):
    folder.rmdir()
    folder.write_text("")


def shared_parent(folder):
    folder.parent.chmod(0o770)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (write_for_all, "other users can write to"),
        (link_to_a_shared_one, "other users can write to"),
        (shared_parent, "other users can write to"),
        (file_in_its_place, "is no folder"),
    ],
)
def test_an_unsafe_folder_is_refused_in_one_sentence(caches, monkeypatch, spoil, says):
    spoil(made(caches))
    monkeypatch.delenv(cache_folder.FOLDER)
    note = cache_folder.choose()
    assert says in note and "invertavatar_jax" in note and cache_folder.FOLDER in note
    assert "\n" not in note
    assert cache_folder.FOLDER not in os.environ


def test_a_folder_of_another_user_is_refused(caches, monkeypatch):
    folder = made(caches)
    monkeypatch.delenv(cache_folder.FOLDER)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert "belongs to another user" in cache_folder.choose()
    assert cache_folder.FOLDER not in os.environ


def test_a_place_that_cannot_be_written_is_told(caches, monkeypatch):
    (caches / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(caches / "file"))
    assert "cannot be made" in cache_folder.choose()
    assert cache_folder.FOLDER not in os.environ


def test_a_new_folder_replaces_those_of_other_versions_only(caches, monkeypatch):
    old = "0.0.1-jax0.1.0-0123abcd"
    folder = made(caches)
    folder.rmdir()
    other_processor = folder.name.rpartition("-")[0] + "-01234567"
    for name in (old, other_processor, "mine"):
        (folder.parent / name).mkdir()
        (folder.parent / name / "file").write_text("")
    monkeypatch.delenv(cache_folder.FOLDER)
    made(caches)
    assert {path.name for path in folder.parent.iterdir()} == {
        folder.name,
        other_processor,
        "mine",
    }


def test_what_was_used_longest_ago_goes_when_the_folder_is_full(caches, monkeypatch):
    folder = made(caches)
    for i, name in enumerate(("oldest", "older", "newest")):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (1e9 + i, 1e9 + i))
    os.utime(folder / "oldest", (2e9, 1e9))  # read since
    monkeypatch.setattr(cache_folder, "MOST_BYTES", 200)
    monkeypatch.delenv(cache_folder.FOLDER)
    made(caches)
    assert {path.name for path in folder.iterdir()} == {"oldest", "newest"}
