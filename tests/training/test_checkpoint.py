"""Checkpoints that are whole or not there.

Oracle: what was saved, bit by bit; for what cannot be written, real limits of the system.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.training.checkpoint import Checkpoints
from roberta_squad_pipeline.training.records import EvaluationRecord, Record, UpdateRecord

SPLIT = "8 windows per update"
SCALE = {"scale": 8.0, "_growth_tracker": 5, "skips_at_minimum": 1, "skipped": 3}


def tensors(update: int, size: int = 100) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(update)
    return {
        "model.weight": torch.randn(size, generator=generator),
        "model.ids": torch.arange(update),
        "optimizer.weight.step": torch.tensor(float(update)),
        "optimizer.weight.exp_avg": torch.randn(3, 2, generator=generator).bfloat16(),
    }


def records(update: int) -> list[Record]:
    updates = [UpdateRecord(n, 1 / n, 1e-3 / 3, 1e-7, 8, 4.0, 0.1) for n in range(1, update + 1)]
    return [*updates[:4], evaluation(4), *updates[4:]]


def evaluation(update: int) -> EvaluationRecord:
    return EvaluationRecord(
        update=update,
        loss=1 / 3,
        exact=50.0,
        f1=100 / 3,
        answerable_f1=None,
        best_f1=200 / 3,
        no_answer_auc=0.1 + 0.2,
        seconds=1 / update,
    )


def save(checkpoints: Checkpoints, update: int) -> Path:
    return checkpoints.save(
        update,
        tensors(update),
        SCALE,
        records(update),
        split=SPLIT,
        best_weights={"weight": tensors(3)["model.weight"]},
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "new/folder")
    assert checkpoints.newest() is None
    assert checkpoints.last() is None
    path = save(checkpoints, 7)
    found = Checkpoints(tmp_path / "new/folder").newest()
    assert found is not None
    assert (found.path, found.manifest.update, found.manifest.loss_scale, found.manifest.split) == (
        path,
        7,
        SCALE,
        SPLIT,
    )
    assert found.records == records(7)
    assert torch.equal(found.best_weights()["weight"], tensors(3)["model.weight"])
    expected = tensors(7)
    read = found.tensors()
    assert read.keys() == expected.keys()
    for name, tensor in expected.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for update in (5, 10, 999_999, 1_000_000):
        checkpoints.save(update, tensors(1), SCALE, [], split=SPLIT)
    assert names(tmp_path) == ["update-1000000", "update-999999"]
    newest = checkpoints.newest()
    assert newest is not None
    assert (newest.records, newest.best_weights()) == ([], {})
    assert checkpoints.last() == tmp_path / "update-1000000"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: list[tuple[str, Callable[[Path], None]]] = [
    (name, harm)
    for name in ("state.safetensors", "best.safetensors", "records.json")
    for harm in (truncate, flip_a_bit, Path.unlink)
]
DAMAGE += [
    ("manifest.json", Path.unlink),
    ("manifest.json", truncate),
    ("manifest.json", lambda path: path.write_text("{}") and None),
    (
        "manifest.json",
        lambda path: (
            path.write_text(path.read_text().replace('"update": 10', '"update": 10x')) and None
        ),
    ),
]


@pytest.mark.parametrize(("name", "harm"), DAMAGE)
def test_damaged_checkpoint_is_told_of_and_the_one_before_it_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, harm: Callable[[Path], None]
) -> None:
    checkpoints = Checkpoints(tmp_path)
    first, second = save(checkpoints, 5), save(checkpoints, 10)
    if name == "manifest.json" and harm is truncate:
        # Its last byte is a line's end: without it nothing is lost, so take the brace, too.
        truncate(second / name)
    harm(second / name)
    found = checkpoints.newest()
    assert found is not None
    assert found.path == first
    assert f"{second}: got a damaged checkpoint" in caplog.text
    shutil.rmtree(first)
    assert checkpoints.newest() is None


def test_half_a_checkpoint_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    path = save(Checkpoints(tmp_path), 5)
    half = tmp_path / ".update-000010.abc/update-000010"
    shutil.copytree(path, half)
    (half / "manifest.json").unlink()
    again = Checkpoints(tmp_path)
    assert names(tmp_path) == ["update-000005"]
    found = again.newest()
    assert found is not None
    assert found.manifest.update == 5


LIMITED = """
import resource, sys
from pathlib import Path
import torch
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.training.checkpoint import Checkpoints

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    Checkpoints(Path(sys.argv[1])).save(10, {"w": torch.zeros(100_000)}, {}, [], split="")
except InputError as error:
    print(error)
    sys.exit(7)
"""


def test_file_that_grows_too_large_leaves_the_last_good_one(tmp_path: Path) -> None:
    """Oracle: the system's own limit on the size of a file, 10 kB, where 400 kB are needed."""
    save(Checkpoints(tmp_path), 5)
    before = content(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 7, done.stderr
    assert f"{tmp_path}: got" in done.stdout
    assert "goes on from update-000005" in done.stdout
    assert content(tmp_path) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_leaves_the_last_good_checkpoint(small_disk: Path) -> None:
    checkpoints = Checkpoints(small_disk / "run")
    save(checkpoints, 5)
    before = content(small_disk)
    with pytest.raises(InputError, match=r"No space left.*checkpoint of 4 MB.*update-000005"):
        checkpoints.save(10, tensors(10, size=1_000_000), SCALE, [], split=SPLIT)
    assert content(small_disk) == before
    found = checkpoints.newest()
    assert found is not None
    assert found.manifest.update == 5


def test_read_only_folder_is_told(small_disk: Path) -> None:
    checkpoints = Checkpoints(small_disk / "run")
    save(checkpoints, 5)
    before = content(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(InputError, match="Read-only file system"):
        save(checkpoints, 10)
    assert content(small_disk) == before


def test_a_smaller_micro_batch_is_kept_for_whoever_goes_on(tmp_path: Path) -> None:
    Checkpoints(tmp_path).keep_micro_batch(3)
    assert [Checkpoints(tmp_path).micro_batch(wanted) for wanted in (2, 3, 12)] == [2, 3, 3]
    assert Checkpoints(tmp_path / "another").micro_batch(12) == 12
