"""`python -m roberta_squad_pipeline`: `kedro run` and the other commands, without Kedro's own."""

import sys
from pathlib import Path

from kedro.framework.project import configure_project

from roberta_squad_pipeline.cli import cli


def main() -> None:
    """Runs a command: `run`, if the first argument is the option of one."""
    configure_project(Path(__file__).parent.name)
    given = sys.argv[1:]
    options_alone = not given or (given[0].startswith("-") and given[0] != "--help")
    cli(args=["run", *given] if options_alone else given)


if __name__ == "__main__":
    main()
