"""`kedro run` as this project wants it: a user's mistake is one message, not a traceback."""

from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.io.core import DatasetError

from roberta_squad_pipeline.errors import InputError, TrainingError


@click.group(name="roberta_squad_pipeline")
def cli() -> None:
    """Commands of this project."""


@cli.command(name="run", params=kedro_run.params, help=kedro_run.help)
def run(**options: Any) -> None:
    """Run pipelines."""
    # Kedro deprecates the option; here it stays, as the singular of --pipelines.
    single = options.pop("pipeline")
    if single and options["pipelines"]:
        raise click.UsageError("Give either --pipeline or --pipelines.")
    options["pipelines"] = [single] if single else options["pipelines"]
    try:
        click.get_current_context().invoke(kedro_run, pipeline=None, **options)
    except (InputError, TrainingError) as error:
        raise click.ClickException(str(error)) from error
    except DatasetError as error:
        raise click.ClickException(_explain(error)) from error
    except ValueError as error:
        if str(error).startswith("Failed to find the pipeline named"):
            raise click.ClickException(str(error)) from error
        raise


def _explain(error: DatasetError) -> str:
    """A dataset wraps what happened inside it; the user's mistake is what is inside."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return str(cause)
        if isinstance(cause, FileNotFoundError):
            return (
                f"{cause.filename}: got no such file; expected the output of an earlier pipeline. "
                "Run the whole chain first (kedro run), or the pipeline that writes it."
            )
        cause = cause.__cause__
    return str(error)
