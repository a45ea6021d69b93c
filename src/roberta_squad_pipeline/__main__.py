"""`python -m roberta_squad_pipeline`: the same as `kedro run`."""

import sys
from pathlib import Path

from kedro.framework.project import configure_project

from roberta_squad_pipeline.cli import run


def main() -> None:
    """Runs the project's pipelines."""
    configure_project(Path(__file__).parent.name)
    run(args=sys.argv[1:])


if __name__ == "__main__":
    main()
