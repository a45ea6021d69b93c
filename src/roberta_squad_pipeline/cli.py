"""`kedro run` as this project wants it: a user's mistake is one message, not a traceback."""

import errno
import logging
import os
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
import yaml
from kedro.config import MissingConfigException
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import configure_logging, pipelines
from kedro.io.core import DatasetError
from kedro.utils import find_kedro_project
from omegaconf import OmegaConf

from roberta_squad_pipeline.common.errors import InputError, TrainingError, causes, optional
from roberta_squad_pipeline.common.nested import merged
from roberta_squad_pipeline.common.redaction import hide_in_logs, redacted
from roberta_squad_pipeline.runs.experiments import OWN, own_experiments
from roberta_squad_pipeline.runs.parameters import config_loader, project_parameters
from roberta_squad_pipeline.runs.session import in_project, run_pipeline


def _with_lists(split: Callable[..., Any]) -> Callable[..., Any]:
    """Reads --params as Kedro does, except that a comma within brackets separates nothing."""

    def read(context: click.Context, option: click.Parameter, value: Any) -> Any:
        if not isinstance(value, str) or "[" not in value:
            return split(context, option, value)
        given = [item.strip() for item in re.split(r",(?![^\[]*\])", value)]
        return OmegaConf.to_container(OmegaConf.from_dotlist(given))

    return read


for _option_of_run in kedro_run.params:
    if _option_of_run.name == "params" and _option_of_run.callback is not None:
        _option_of_run.callback = _with_lists(_option_of_run.callback)


@click.group(name="roberta_squad_pipeline")
def cli() -> None:
    """Commands of this project."""


@cli.command(name="run", params=[*kedro_run.params], help=kedro_run.help)
@click.option("--verbose", "-v", is_flag=True, help="Log what is loaded and saved.")
def run(*, verbose: bool, **options: Any) -> None:
    """Run pipelines."""
    _project()
    if verbose:
        logging.getLogger("kedro").setLevel(logging.INFO)
    # Kedro deprecates the option; here it stays, as the singular of --pipelines.
    single = options.pop("pipeline")
    if single and options["pipelines"]:
        raise click.UsageError("Give either --pipeline or --pipelines.")
    options["pipelines"] = [single] if single else options["pipelines"]
    with _messages_for_errors():
        try:
            click.get_current_context().invoke(kedro_run, pipeline=None, **options)
        except (ValueError, AttributeError) as error:
            if _raised_in(error) in _LOOK_UP_NAMES:
                raise click.ClickException(f"{error}{_close_nodes(str(error))}") from error
            raise


_LOOK_UP_NAMES = {"kedro.framework.session.session", "kedro.pipeline.pipeline", "kedro.utils"}
"""Kedro's modules that report an unknown pipeline, node, tag, dataset or runner."""


def _raised_in(error: Exception) -> str:
    """The module whose code found the fault."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals["__name__"])


def _close_nodes(said: str) -> str:
    nodes = {node.name for pipeline in pipelines.values() for node in pipeline.nodes}
    unknown = re.search(r"nodes named \['(.*?)'", said)
    close = get_close_matches(unknown[1], nodes) if unknown else []
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _project() -> Path:
    """The project that a command is given in: this folder, or one above it."""
    project = Path(find_kedro_project(Path.cwd()) or Path.cwd())
    logging_config = project / "conf/logging.yml"
    # Kedro looks for it in this folder alone.
    if project != Path.cwd() and logging_config.is_file():
        configure_logging(yaml.safe_load(logging_config.read_text(encoding="utf-8")))
    return project


def _names(*of: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completes the names of runs that have a file, and of the folders within them."""

    def complete(context: click.Context, option: click.Parameter, begun: str) -> list[str]:
        folders = [path.parent for pattern in of for path in (_project() / "data").glob(pattern)]
        names = {"/".join(folder.relative_to(_project()).parts[2:]) for folder in folders}
        return sorted(name for name in names if name.startswith(begun))

    return complete


_trained = _names("06_models/*/reader.json", "06_models/*/onnx/reader.json")
_scored = _names("08_reporting/*/metrics.json")


def _experiments(context: click.Context, option: click.Parameter, begun: str) -> list[str]:
    """Completes the last of several names."""
    before, comma, last = begun.rpartition(",")
    loader = config_loader(_project() / "conf", context.params.get("env"), {})
    names = [*loader["parameters"]["experiments"]["rows"], *own_experiments(_project())]
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]


def _option(name: str) -> click.Parameter:
    return next(option for option in kedro_run.params if option.name == name)


def _shard(context: click.Context, option: click.Parameter, value: str) -> tuple[int, int]:
    index, _, count = value.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise click.BadParameter(f"got {value!r}; expected a share such as 2/4")
    return int(index), int(count)


@cli.command(params=[_option("env"), _option("params")])
@click.option(
    "--experiments",
    default="",
    shell_complete=_experiments,
    help="Names, comma-separated [all reported ones].",
)
@click.option("--seeds", default=1, type=click.IntRange(1), help="Runs of each experiment.")
@click.option("--shard", default="1/1", callback=_shard, help="A share of the runs, such as 2/4.")
@click.option("--dry-run", is_flag=True, help="Print what would run.")
def sweep(*, experiments: str, dry_run: bool, params: dict[str, Any], **options: Any) -> None:
    """Run many experiments, then compare them.

    Runs that were finished with the same settings, code and data are skipped.
    """
    from roberta_squad_pipeline.runs import sweep as hall

    names = [name for name in experiments.split(",") if name]
    project = _project()
    with _messages_for_errors(), in_project(project, params) as given:
        planned = hall.plan(project, params=given, experiments=names, **options)
        if not planned.planned:
            click.echo("This share holds no run.")
            return
        if dry_run:
            done = hall.finished(planned)
            for run in planned.planned:
                click.echo(f"{run.name}: {'finished' if run.name in done else 'would run'}")
            return
        with hall.claimed(planned):
            failed = hall.carry_out(planned, say=click.echo)
    if failed:
        raise click.ClickException(
            f"{len(failed)} of {len(planned.planned)} runs failed: {', '.join(failed)}. The "
            "reasons are above; the same command tries these again and skips the others."
        )


@cli.command(params=[_option("env"), _option("params")])
def tune(*, env: str | None, params: dict[str, Any]) -> None:
    """Search for better settings.

    The section tune of conf/ says among which, and for how long. The same command goes on with a
    study that was interrupted, or was given more trials.
    """
    project = _project()
    with _messages_for_errors(), in_project(project, params) as given:
        with optional("kedro tune", "tune"):
            from roberta_squad_pipeline.runs import tune as hall
        tuning = hall.Tuning.of(project, env, given)
        with tuning.claimed(f"study {tuning.config.study}"):
            winner = hall.carry_out(tuning, say=click.echo)
    if winner is not None:
        given_env = f" --env {env}" if env else ""
        click.echo(f"next: kedro run{given_env} --params experiment={winner}")


@cli.command(params=[_option("env")])
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN ...", shell_complete=_scored)
def compare(*, env: str | None, runs: tuple[str, ...]) -> None:
    """Compare finished runs on the same questions.

    RUN is a run's name, of which the newest counts, or its id in MLflow. The others are
    compared with the first: their settings, scores, and the questions that they fixed and broke.
    The table of experiments is another: kedro run --pipeline compare.
    """
    if len(set(runs)) < max(len(runs), 2):
        raise click.UsageError("Give two different runs or more.")
    from roberta_squad_pipeline.runs.comparison import compare_runs, write_comparison

    project = _project()
    with _messages_for_errors():
        comparison = compare_runs(project, env, runs)
        click.echo(comparison.markdown)
        for path in write_comparison(comparison, project):
            click.echo(f"{path.suffix[1:]}: {path.as_uri()}")


@cli.command(params=[_option("env")])
@click.option(
    *("--run", "--experiment", "run_name"),
    shell_complete=_trained,
    help="The run whose reader answers [the one that conf/ names].",
)
@click.option("--reader", help="A reader's folder, or a model in MLflow (models:/NAME/1), instead.")
@click.option("--passage", help="The passage itself [typed].")
@click.option("--passage-file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="A line of JSON per answer, as from predict.")
@click.option("--web", is_flag=True, help="On a page in the browser, until Ctrl-C.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the page is served.")
@click.option("--port", default=5010, show_default=True, type=click.IntRange(0, 65535))
def ask(
    *,
    env: str | None,
    run_name: str | None,
    reader: str | None,
    passage: str | None,
    passage_file: Path | None,
    as_json: bool,
    web: bool,
    host: str,
    port: int,
) -> None:
    """Ask a trained reader.

    Questions are typed or piped in, one per line; before them the passage and an empty line, unless
    it is given. With --web both are typed into a page.
    """
    from rich.console import Console

    from roberta_squad_pipeline.runs.asking import converse
    from roberta_squad_pipeline.runs.readers import file_of_run

    if passage is not None and passage_file is not None:
        raise click.UsageError("Give either --passage or --passage-file.")
    if passage_file is not None:
        try:
            passage = passage_file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise click.BadParameter(f"{passage_file} is not text in UTF-8") from error
    with _messages_for_errors():
        from roberta_squad_pipeline.api import Reader

        project = _project()
        source = reader or str(file_of_run(project, env, run_name, "reader"))
        loaded = Reader.load(source)
        if not web:
            converse(loaded, passage, Console(highlight=False), as_json=as_json)
            return
        from roberta_squad_pipeline.runs.asking_page import asking_page, examples_of, serve

        known = [] if reader else examples_of(file_of_run(project, env, run_name, "questions"))
        name = reader or Path(source).name
        page = asking_page(loaded, name=name, host=host, passage=passage or "", examples=known)
        serve(page, host, port, say=click.echo)


@cli.command(params=[_option("env"), _option("params")])
@click.option(
    *("--run", "run_name"),
    required=True,
    shell_complete=_trained,
    help="The run whose reader answers.",
)
@click.option("--input", "questions", required=True, help="Questions, in any form of data.dev.")
@click.option("--output", required=True, help="Where answers go: FILE.jsonl or FILE.parquet.")
def predict(
    *, env: str | None, params: dict[str, Any], run_name: str, questions: str, output: str
) -> None:
    """Answer a file of questions.

    They need no answers. The same command goes on where it was killed.
    """
    from roberta_squad_pipeline.runs.readers import reader_of

    files = {"input": questions, "output": str(Path(output).absolute())}
    with _messages_for_errors():
        given = merged(params, reader_of(run_name) | {"predict": files})
        run_pipeline(_project(), env, given, "predict")


@cli.command(params=[_option("env"), _option("params")])
@click.option(
    "--run", "reader", required=True, shell_complete=_trained, help="The run whose reader answers."
)
@click.option("--data", required=True, help="Questions with answers, as data.dev takes them.")
@click.option("--as", "name", required=True, help="Name of the scores and all that leads to them.")
@click.option(
    "--calibrate", is_flag=True, help="Fit the reader's threshold and probabilities anew."
)
def evaluate(
    *, env: str | None, params: dict[str, Any], reader: str, data: str, name: str, calibrate: bool
) -> None:
    """Score a trained reader on other questions.

    Its threshold and probabilities stay as they are, unless --calibrate is given.
    """
    from roberta_squad_pipeline.runs.readers import file_of_run, reader_parameters

    with _messages_for_errors():
        project = _project()
        own = reader_parameters(file_of_run(project, env, reader, "reader"))
        own |= {"run": name, "feature_set": name, "reader": reader}
        given = params | ({"calibrate": True} if calibrate else {})
        # Nothing is trained, so there are no training and validation data.
        given = merged(given, {"data": {"train": "", "dev": data, "validation": "dev"}})
        run_pipeline(project, env, merged(own, given), "evaluate_elsewhere")


@cli.command("send-tracking", params=[_option("env")])
def send_tracking(env: str | None) -> None:
    """Send MLflow what could not be sent during runs."""
    from roberta_squad_pipeline.tracking.spool import send_unsent
    from roberta_squad_pipeline.tracking.store import tracking_uri

    project = _project()
    with _messages_for_errors():
        unsent = project / project_parameters(project, env, {}).tracking.unsent
        runs = 0
        for run_id, operations in send_unsent(unsent, tracking_uri(project)):
            click.echo(f"run {run_id}: {operations} operations sent")
            runs += 1
    if not runs:
        click.echo("There is nothing left to send.")


@contextmanager
def _messages_for_errors() -> Iterator[None]:
    hide_in_logs()
    try:
        yield
    except (InputError, TrainingError) as error:
        raise click.ClickException(str(error)) from error
    except DatasetError as error:
        raise click.ClickException(redacted(_explain(error))) from error
    except MissingConfigException as error:
        raise click.ClickException(f"{error}{_environments(error)}") from error
    except click.ClickException:
        raise
    except Exception as error:
        if said := _no_place(error):
            raise click.ClickException(said) from error
        told = "".join(traceback.format_exception(error))
        if redacted(told) == told:
            raise
        raise click.ClickException(redacted(told)) from None


def _environments(error: MissingConfigException) -> str:
    """The environments that --env may name, if the one given is unknown."""
    conf = Path(str(error).rpartition(": ")[2]).parent
    if not conf.is_dir():
        return ". conf/ has to be in the project's folder, or outside a project in the current one."
    folders = {path.name for path in conf.iterdir() if path.is_dir()} - {OWN.name}
    known = ", ".join(sorted(folders))
    return f". Its environments (--env) are {known}."


def _explain(error: DatasetError) -> str:
    """A dataset wraps the errors of its files; the message is about what is inside."""
    for cause in causes(error):
        if isinstance(cause, InputError):
            return str(cause)
        if isinstance(cause, FileNotFoundError):
            return (
                f"{cause.filename or cause}: got no such file; expected the output of an earlier "
                "pipeline. Run the whole chain first (kedro run), or the pipeline that writes it."
            )
    return _no_place(error) or str(error)


_NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}


def _no_place(error: Exception) -> str | None:
    """What to do about a full disk or a place where writing is not allowed, if it is that."""
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in _NO_PLACE:
            where = cause.filename2 or cause.filename or "a file of this run"
            return (
                f"{where}: got {os.strerror(cause.errno)}; expected room, and the right to read "
                "and write. Make room or grant the right; then give the same command again."
            )
    return None
