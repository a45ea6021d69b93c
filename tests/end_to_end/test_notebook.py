"""The notebook, worked through from top to bottom on a finished run.

Oracle: what the run's own files say.
"""

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks/one_run.ipynb"
PLOTLY = "application/vnd.plotly.v1+json"


@pytest.fixture(scope="module")
def saved() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def outputs_of(notebook: nbformat.NotebookNode, kind: str) -> list[Any]:
    """What the cells show in one of the forms in which they show it."""
    return [
        output["data"][kind]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if kind in output.get("data", {})
    ]


def test_it_is_saved_without_outputs(saved: nbformat.NotebookNode) -> None:
    nbformat.validate(saved)
    cells = [cell for cell in saved.cells if cell.cell_type == "code"]
    assert len(cells) > 15
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert all(cell.metadata == {} for cell in saved.cells)
    assert set(saved.metadata) <= {"kernelspec", "language_info"}


def test_it_defines_nothing(saved: nbformat.NotebookNode) -> None:
    for cell in saved.cells:
        if cell.cell_type == "code":
            # Magics are no Python.
            code = "\n".join(line for line in cell.source.splitlines() if line[:1] != "%")
            kinds = {type(node) for node in ast.walk(ast.parse(code))}
            assert not kinds & {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda}


def test_every_cell_runs(
    finished_with_validation: Path,
    tmp_path: Path,
    saved: nbformat.NotebookNode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = Path(
        shutil.copytree(finished_with_validation, tmp_path, symlinks=True, dirs_exist_ok=True)
    )
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = project / "notebooks"
    folder.mkdir()
    notebook = nbformat.from_dict(saved)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute()

    tables = outputs_of(notebook, "text/html")
    metrics = json.loads((project / "data/08_reporting/demo/metrics.json").read_text())
    assert [table for table in tables if f"{metrics['best_f1']:.6g}" in table]
    predictions = json.loads((project / "data/07_model_output/demo/predictions.json").read_text())
    assert [table for table in tables if "<mark>" in table]
    shown = {text for text in predictions.values() if any(text in table for table in tables)}
    assert shown
    # Question words, windows, losses, validation scores, learning rates, no-answer scores, slices,
    # outcomes.
    assert len(outputs_of(notebook, PLOTLY)) == 8
