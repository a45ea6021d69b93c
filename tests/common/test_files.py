"""Files are whole or not there.

Oracle: the state of the folder before and after; SHA-256 of "abc" from FIPS 180-4, appendix B.1.
"""

import hashlib
import os
import re
from pathlib import Path

import pytest
from safetensors import SafetensorError

from roberta_squad_pipeline.common.files import sha256_of, sha256_of_files, written_atomically


class BrokenOffError(Exception):
    pass


def test_sha256_is_that_of_the_standard(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_file_appears_at_the_end_only(tmp_path: Path) -> None:
    target = tmp_path / "made" / "on the way" / "metrics.json"
    with written_atomically(target) as temp:
        assert not temp.exists()
        temp.write_text("new")
        assert temp.suffix == ".json"
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    with written_atomically(tmp_path / "target") as temp:
        temp.write_text("x")
    assert (tmp_path / "target").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_folder_replaces_a_folder_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    (target / "deep").mkdir(parents=True)
    (target / "deep" / "stale").write_text("old")
    with written_atomically(target) as temp:
        (temp / "sub").mkdir(parents=True)
        (temp / "sub" / "weights").write_text("new")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "model",
        "model/sub",
        "model/sub/weights",
    ]


@pytest.mark.parametrize("fault", [BrokenOffError, KeyboardInterrupt])
@pytest.mark.parametrize("folder", [False, True])
def test_fault_leaves_the_old_state(
    tmp_path: Path, fault: type[BaseException], folder: bool
) -> None:
    target = tmp_path / "target"
    if folder:
        target.mkdir()
    old = target / "inside" if folder else target
    old.write_text("old")

    def write_half() -> None:
        with written_atomically(target) as temp:
            if folder:
                temp.mkdir()
            (temp / "inside" if folder else temp).write_text("half")
            raise fault

    with pytest.raises(fault):
        write_half()
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_fault_between_two_renames_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "weights").write_text("old")
    renames = []

    def replace(source: Path, goal: Path) -> None:
        renames.append(goal)
        if len(renames) == 2:
            raise BrokenOffError
        source.rename(goal)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(BrokenOffError), written_atomically(target) as temp:
        temp.mkdir()
    assert len(renames) == 3
    assert (target / "weights").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_file_never_replaces_a_folder(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("old")
    with pytest.raises(IsADirectoryError), written_atomically(tmp_path) as temp:
        temp.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_full_disk_names_the_file(tmp_path: Path) -> None:
    """Oracle: the system's device that is always full; its own error names no file."""
    target = tmp_path / "a.txt"
    full = pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'")
    with full, written_atomically(target):
        Path("/dev/full").write_text("a", encoding="utf-8")
    assert not target.exists()


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("Error while serializing: I/O error: No space left on device (os error 28)", 28),
        ("Error while serializing: I/O error: Permission denied (os error 13)", 13),
    ],
)
def test_error_of_the_system_in_a_library_s_words(tmp_path: Path, said: str, number: int) -> None:
    """Oracle: what safetensors says on a full disk, and where it may not write."""
    target = tmp_path / "a.txt"
    failed = pytest.raises(OSError, match=re.escape(f"{os.strerror(number)}: '{target}'"))
    with failed as caught, written_atomically(target):
        raise SafetensorError(said)
    assert caught.value.errno == number


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(SafetensorError, match="tensor"), written_atomically(tmp_path / "a.txt"):
        raise SafetensorError("Error while serializing: invalid tensor")


def test_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with written_atomically(tmp_path / "link") as temp:
        temp.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_several_files_hash_by_names_content_and_order(tmp_path: Path) -> None:
    """Oracle: sha256sum's own output of them, hashed."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    listed = "".join(f"{sha256_of(path)} {path.name}\n" for path in (one, other))
    assert sha256_of_files([one, other]) == hashlib.sha256(listed.encode()).hexdigest()
    assert sha256_of_files([other, one]) != sha256_of_files([one, other])
