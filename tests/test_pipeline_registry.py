"""What `kedro registry list` costs."""

import subprocess
import sys
from pathlib import Path

HEAVY = {"numpy", "pandas", "plotly", "pyarrow", "tokenizers", "torch", "transformers", "mlflow"}


def test_listing_pipelines_imports_nothing_heavy() -> None:
    """Oracle: the modules that are there when the names are out."""
    code = (
        "import sys\n"
        "from kedro.framework.cli.cli import main\n"
        "sys.argv = ['kedro', 'registry', 'list']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print(sorted({HEAVY} & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        check=True,
        capture_output=True,
        text=True,
    )
    names = (
        "__default__",
        "compare",
        "download",
        "evaluate",
        "evaluate_elsewhere",
        "features",
        "inference",
        "train",
        "validate",
    )
    for name in names:
        assert f"- {name}\n" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
