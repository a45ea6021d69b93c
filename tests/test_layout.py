"""Where things lie.

Oracle: the picture in docs/code.md: a room for every stage, nothing loose in the root, tests that
mirror the code.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/roberta_squad_pipeline"
TESTS = ROOT / "tests"

DOORS = {"__init__", "__main__", "api", "cli", "settings", "pipeline_registry"}

TESTED_BY = {
    "__main__": "end_to_end/test_reader.py",
    "cli": "end_to_end/test_bad_input.py",
    "settings": "test_trust.py",
    "common/arrays": "evaluation/test_scoring.py",
    "common/errors": "end_to_end/test_bad_input.py",
    "common/strict": "runs/test_parameters.py",
    "demo/names": "demo/test_generator.py",
    "demo/passages": "demo/test_generator.py",
    "demo/phrases": "demo/test_generator.py",
    "distributed/processes": "training/test_job.py",
    "distributed/start": "end_to_end/test_machines.py",
    "evaluation/config": "runs/test_parameters.py",
    "features/config": "runs/test_parameters.py",
    "features/file": "features/test_build.py",
    "features/teacher": "inference/test_teaching.py",
    "features/tokens": "features/test_build.py",
    "inference/job": "end_to_end/test_processes.py",
    "inference/worker": "end_to_end/test_processes.py",
    "pipelines/compare/nodes": "end_to_end/test_sweep.py",
    "pipelines/download/nodes": "end_to_end/test_chain.py",
    "pipelines/ensemble/nodes": "end_to_end/test_ensemble.py",
    "pipelines/evaluate/nodes": "end_to_end/test_chain.py",
    "pipelines/evaluate/report": "end_to_end/test_chain.py",
    "pipelines/export_onnx/nodes": "inference/test_onnx_export.py",
    "pipelines/features/nodes": "end_to_end/test_chain.py",
    "pipelines/import_fairseq/nodes": "end_to_end/test_start.py",
    "pipelines/inference/nodes": "end_to_end/test_chain.py",
    "pipelines/predict/nodes": "end_to_end/test_reader.py",
    "pipelines/train/nodes": "end_to_end/test_chain.py",
    "pipelines/validate/nodes": "end_to_end/test_validation.py",
    "reader/exchange/model_card": "reader/exchange/test_pretrained.py",
    "reader/onnx_reader": "inference/test_onnx_export.py",
    "reader/source": "reader/test_start.py",
    "runs/hooks": "end_to_end/test_tracking_server.py",
    "runs/plan": "end_to_end/test_chain.py",
    "runs/pruning": "runs/test_tune.py",
    "runs/recording": "end_to_end/test_tracking_server.py",
    "runs/runner": "end_to_end/test_machines.py",
    "runs/sweep": "end_to_end/test_sweep.py",
    "squad/faults": "squad/test_dataset.py",
    "tracking/tracker": "training/test_job.py",
    "training/step": "training/test_loop.py",
    "training/worker": "training/test_job.py",
}
"""What has no test file of its own, and the file that goes through it."""


def modules() -> list[str]:
    found = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    assert len(found) > 100
    return [path.as_posix() for path in found]


def test_nothing_lies_loose_in_the_root() -> None:
    assert {name for name in modules() if "/" not in name} == DOORS


def test_every_module_has_a_test_file() -> None:
    lacking = set()
    for name in modules():
        folder, _, last = name.rpartition("/")
        # A pipeline.py only wires; test_pipeline_registry.py sees all of them.
        if (
            last not in {"__init__", "pipeline"}
            and not (TESTS / folder / f"test_{last}.py").exists()
        ):
            lacking.add(name)
    assert lacking == set(TESTED_BY)
    assert [path for path in TESTED_BY.values() if not (TESTS / path).exists()] == []


def test_the_file_tree_shows_every_module() -> None:
    tree = (ROOT / "docs/code.md").read_text(encoding="utf-8").split("<!-- file tree -->")[1]
    shown = []
    folders: list[str] = []
    for line in tree.split("```")[1].strip("\n").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], line.split()[0]]
        shown.append(ROOT.joinpath(*folders))
    assert [str(path) for path in shown if not path.exists()] == []
    whole = {"pipelines", "datasets", "demo"}
    expected = {
        PACKAGE / f"{name}.py"
        for name in modules()
        if not re.search(r"__(init|main)__$", name) and name.split("/")[0] not in whole
    }
    assert expected - set(shown) == set()
