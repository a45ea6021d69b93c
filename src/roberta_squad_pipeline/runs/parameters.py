"""All parameters of a run, typed. Values live only in conf/; there are no defaults here."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, Field, ValidationError, field_validator

from roberta_squad_pipeline.common.errors import InputError, causes
from roberta_squad_pipeline.common.strict import Name, StrictModel
from roberta_squad_pipeline.demo import ENCODER as DEMO_ENCODER
from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.reader.config import InferenceParameters, ModelConfig
from roberta_squad_pipeline.runs.experiments import ConfigLoader, Experiments, Scale
from roberta_squad_pipeline.runs.search_space import Space
from roberta_squad_pipeline.squad.faults import OnMisaligned
from roberta_squad_pipeline.tracking.tracker import Journal
from roberta_squad_pipeline.training.config import DistilParameters, TrainingParameters

ReaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/onnx)?$")]
"""A run's name, or NAME/onnx: what it was exported to."""

Paths = str | tuple[str, ...]
"""One file, folder, pattern or address, or several."""

_PREDICT = "Give them: kedro predict --run NAME --input FILE --output answers.jsonl"


class DemoSource(StrictModel):
    """A file of the embedded data set, written by the package's generator."""

    kind: Literal["demo"]
    split: Literal["train", "dev"]
    """The split; no name occurs in both."""
    passages: int = Field(gt=0)
    seed: int = Field(ge=0)


class RemoteSource(StrictModel):
    """A file that is downloaded once and kept."""

    kind: Literal["remote"]
    url: str
    """An HTTP or HTTPS address whose path ends in the file's name."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    """Null states explicitly that any content is accepted; each run then warns of it."""
    size_bytes: int | None = Field(gt=0)
    """Null if it is not known."""


class DataConfig(StrictModel):
    """Where questions come from."""

    train: Paths
    """Name of one of `sources`, or else the path or address of a file of questions, or several of
    these; empty if the command or the catalog's `train_questions` has to give it."""
    dev: Paths
    """Like `train`."""
    validation: float | Paths
    """Questions that a reader is scored on while it is trained: "dev"; or a share of the training
    questions, of which whole articles are held out of training; or a file like `train`."""
    sources: dict[Name, Annotated[DemoSource | RemoteSource, Field(discriminator="kind")]]
    """Files that can be generated or downloaded, by name."""
    folder: Path
    """The folder for these files."""
    on_misaligned: OnMisaligned
    """What happens to an answer that is not at its answer_start: the training file is rejected, or
    the answer is dropped, or moved to the nearest place where its text stands (and dropped if there
    is none). Dropped and moved answers are counted; questions that are scored keep the texts of all
    their answers, and are never rejected for misaligned ones."""

    @field_validator("validation", mode="before")
    @classmethod
    def _is_a_share_or_a_file(cls, value: object) -> object:
        if isinstance(value, str | list | tuple) and value:
            return value
        if isinstance(value, float) and 0 < value < 1:
            return value
        raise InputError(
            where="parameter data.validation",
            got=repr(value),
            expected="dev, a share of the training questions above 0 and below 1, or a SQuAD file",
            remedy="Give one: --params data.validation=0.1",
        )

    @property
    def validation_file(self) -> Paths | None:
        """Source or path of the validation questions; None if they have no separate file."""
        own = not isinstance(self.validation, float) and self.validation != "dev"
        return cast("Paths", self.validation) if own else None


class PredictConfig(StrictModel):
    """Questions to be answered by the pipeline `predict`."""

    input: Paths | None
    """Like `data.dev`; its questions need no answers."""
    output: Path | None
    """A file of JSON Lines or Parquet; its suffix says which."""

    @field_validator("output")
    @classmethod
    def _has_a_form(cls, output: Path | None) -> Path | None:
        if output is None or output.suffix in {".jsonl", ".ndjson", ".parquet"}:
            return output
        raise InputError(
            where="parameter predict.output",
            got=repr(str(output)),
            expected="a name that ends in .jsonl or .parquet",
            remedy=_PREDICT,
        )


class ExportConfig(StrictModel):
    """A reader as an ONNX model, for the pipeline `export_onnx`."""

    int8: bool
    """Whether weights and products are in 8 bits. This costs at most half a point of dev F1: an
    export that would cost more is refused."""


class EnsembleConfig(StrictModel):
    """Which finished runs answer as one, for the pipeline `ensemble`."""

    kind: Literal["logits", "soup"]
    """`logits`: each member reads, and their distributions are averaged. `soup`: one reader with
    the mean of their weights, of those runs whose weights make it better."""
    members: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9*?][A-Za-z0-9._*?-]*$")], ...]
    """Names of runs, or patterns of names such as `bs48_lr3p0_seed*`; one may stand alone."""

    @field_validator("members", mode="before")
    @classmethod
    def _one_alone(cls, members: object) -> object:
        return (members,) if isinstance(members, str) else members


class TrackingConfig(StrictModel):
    """Where runs are recorded."""

    experiment: str = Field(min_length=1)
    """The MLflow experiment of all runs of this project."""
    registered_model: Name
    """Name in MLflow's registry, in which each trained reader becomes a version."""
    system_metrics: bool
    """Whether the load of CPUs, memory, disk, network and GPUs is recorded, every ten seconds."""
    parent_run: str | None
    """MLflow's id of the parent run; a sweep sets it."""
    unsent: Path
    """Folder for what could not be sent to MLflow yet."""

    def journal(self, project: Path) -> Journal:
        """Where the runs of a project in this folder are recorded."""
        return Journal(project, self.experiment, project / self.unsent)


class TuneConfig(StrictModel):
    """What `kedro tune` searches, and for how long."""

    study: Name
    """A study with this name is continued if it exists."""
    storage: str = Field(min_length=1)
    """SQLAlchemy's URL of the database that keeps studies; machines with the same database share
    them."""
    objective: Literal["best_f1", "answerable_f1"]
    """The score to maximise: F1 at cross-fitted thresholds, or F1 of the answerable questions if
    the reader always answers."""
    trials: int = Field(gt=0)
    """The number of trials of the study in total."""
    timeout_minutes: float | None = Field(gt=0)
    """No further trial begins after this time; null sets no limit."""
    prune: bool
    """Whether a trial ends early if its validation scores fall behind the median of the others;
    only with `training.evaluate_every`, and in one process."""
    finalists: int = Field(gt=0)
    """How many of the best trials are run with more seeds."""
    seeds: int = Field(gt=0)
    """How many seeds each finalist is run with: `training.seed` and the numbers after it."""
    space: Space
    """Ranges of parameters, null for one that is not searched."""


class Parameters(StrictModel):
    """All parameters, one section per stage."""

    experiment: str | None
    """The experiment that is run; null if conf/ gives each setting itself."""
    run: Name
    """Name of the run and of its output folders."""
    feature_set: Name
    """Name of the folders with the record of SQuAD files and the features; by default the run's
    name."""
    reader: ReaderName | None
    """Name of another run whose reader answers; null for the run's own reader."""
    calibrate: bool
    """Whether threshold and calibration are fitted on `data.dev` again, if the reader is another
    run's or was tuned on another dev file."""
    overwrite: bool
    """Whether a finished run with other settings or data may be replaced."""
    experiments: Experiments
    scale: Scale
    """Factors of the experiments' updates and learning rates."""
    data: DataConfig
    features: WindowConfig
    model: ModelConfig
    training: TrainingParameters
    inference: InferenceParameters
    distributed: DistributedConfig
    tracking: TrackingConfig
    predict: PredictConfig
    export: ExportConfig
    ensemble: EnsembleConfig
    distil: DistilParameters
    tune: TuneConfig
    checkpoint: Path | None
    """A fairseq checkpoint, for the pipeline `import_fairseq`."""
    locks: Path
    """Folder in which active runs announce themselves; the same for all runs."""
    made_with: Path
    """Folder of records of the settings that each output was made with."""


def load_parameters(loader: Mapping[str, Any]) -> Parameters:
    """Composes and types all parameters of a run before anything starts.

    Args:
        loader: Kedro's config loader.

    Raises:
        InputError: See `check_parameters`; or there is no such experiment, or the environment does
            not use experiments.
    """
    try:
        raw = loader["parameters"]
    except OmegaConfBaseException as error:
        for cause in causes(error):
            if isinstance(cause, InputError):
                raise cause from None
        raise InputError(
            where="configuration",
            got=str(error).splitlines()[0],
            expected="references in ${…} that lead to a value",
            remedy="Correct conf/ or --params.",
        ) from error
    parameters = check_parameters(raw)
    if loader["globals"]["experiment"] is None and parameters.experiment is not None:
        raise InputError(
            where="parameter experiment",
            got=repr(parameters.experiment),
            expected="none in this environment, which gives each setting itself",
            remedy="Leave it out, and name the run with --params run=NAME; or use an environment "
            "for experiments, such as --env squad2.",
        )
    return parameters


def config_loader(conf: str | Path, env: str | None, params: Mapping[str, Any]) -> ConfigLoader:
    """Makes Kedro's loader of conf/ as Kedro does.

    Args:
        conf: The folder.
        env: Kedro's environment.
        params: Parameters from the command line.
    """
    from kedro.framework.project import settings

    return ConfigLoader(str(conf), env, dict(params), **settings.CONFIG_LOADER_ARGS)


def project_parameters(project: Path, env: str | None, params: Mapping[str, Any]) -> Parameters:
    """Composes the parameters of a run, as Kedro does."""
    return load_parameters(config_loader(project / "conf", env, params))


_GIVEN_PATHS = {
    *("data.train", "data.dev", "data.validation", "model.encoder", "model.start"),
    *("checkpoint", "predict.input", "distil.teacher", "distil.unlabelled"),
}
"""Parameters that may name a file of the user."""


def absolute_paths(given: dict[str, Any], folder: Path, section: str = "") -> dict[str, Any]:
    """Makes paths in parameters absolute, so that they are valid in any folder.

    Args:
        given: Nested parameters from the command line.
        folder: The folder in which the command was given.
        section: The section that they are in, with a dot.
    """
    made: dict[str, Any] = {}
    for name, value in given.items():
        dotted = f"{section}{name}"
        if isinstance(value, dict):
            made[name] = absolute_paths(value, folder, f"{dotted}.")
        elif dotted in _GIVEN_PATHS and (dotted, value) != ("data.validation", "dev"):
            made[name] = _absolute(value, folder)
        else:
            made[name] = value
    return made


def _absolute(named: Any, folder: Path) -> Any:
    if isinstance(named, list):
        return [_absolute(str(path), folder) for path in named]
    if not isinstance(named, str) or not named:
        return named
    path = folder / named
    # Names of sources and of models on the hub do not exist there; a pattern matches several.
    return str(path) if path.exists() or any(path.parent.glob(path.name)) else named


def parameters_by_experiment(loader: ConfigLoader) -> dict[str, Parameters]:
    """Composes the parameters of each experiment, with everything else as in this run.

    Args:
        loader: Kedro's config loader of this run.

    Returns:
        By experiment; none in an environment that does not use experiments.
    """
    if loader["globals"]["experiment"] is None:
        return {}
    conf, env, given = loader.conf_source, loader.env, loader.runtime_params or {}
    return {
        name: load_parameters(config_loader(conf, env, {**given, "experiment": name}))
        for name in loader["parameters"]["experiments"]["rows"]
    }


def check_parameters(raw: dict[str, Any]) -> Parameters:
    """Types all parameters of a run before anything starts.

    Args:
        raw: Parameters from conf/ and the command line.

    Raises:
        InputError: A parameter is unknown, missing or out of range; the message names all of them.
    """
    try:
        return Parameters.model_validate(raw)
    except ValidationError as error:
        first, *others = [_describe(fault) for fault in error.errors()]
        also = "".join(f"\nAlso: {other}" for other in others)
        raise InputError(
            where=first.where,
            got=first.got,
            expected=first.expected,
            remedy=first.remedy + also,
        ) from error


def check_before_run(
    parameters: Parameters,
    inputs: Collection[str],
    *,
    in_catalog: Collection[str],
    named: Collection[str] = (),
) -> None:
    """Refuses a run that lacks parameters which only the user can give.

    Args:
        parameters: All parameters of the run.
        inputs: The inputs of its pipelines, such as `params:data`; `checkpoints` if one trains.
        in_catalog: Splits whose questions come from an entry of the catalog.
        named: The pipelines that were asked for.

    Raises:
        InputError: Data, encoder or a teacher are not given, or the embedded encoder would be
            trained on other than the embedded data.
    """
    taught = "distil" in named or (parameters.distil.unlabelled and "params:distil" in inputs)
    if taught and parameters.distil.teacher is None:
        raise InputError(
            where="parameter distil.teacher",
            got="nothing",
            expected="a reader or an ensemble that the new reader learns from",
            remedy="Name its folder: --params distil.teacher=data/06_models/RUN",
        )
    data, model, predict = parameters.data, parameters.model, parameters.predict
    # The reader of another run may be scored without training questions.
    scored_alone = parameters.reader is not None and "params:training" not in inputs
    needed = {
        "data.train": (data.train or scored_alone or "train" in in_catalog, "params:data"),
        "data.dev": (data.dev or "dev" in in_catalog, "params:data"),
        "model.encoder": (model.source, "params:model"),
    }
    missing = [name for name, (value, read) in needed.items() if read in inputs and not value]
    if missing:
        raise InputError(
            where=f"parameter {', '.join(missing)}",
            got="nothing",
            expected="your own questions for training and dev, and a pre-trained encoder",
            remedy=f"Give them: {_own_command('train.json', 'dev.json')}",
        )
    if "params:predict" in inputs and not (predict.input and predict.output):
        raise InputError(
            where="parameter predict.input, predict.output",
            got=f"{predict.input or 'nothing'}, {predict.output or 'nothing'}",
            expected="a file of questions, and where their answers go",
            remedy=_PREDICT,
        )
    own_data = "train" in in_catalog or data.train not in data.sources
    if own_data and "checkpoints" in inputs and _is_demo_encoder(model.encoder):
        raise InputError(
            where="parameter model.encoder",
            got="the embedded encoder to be trained on "
            + ("the catalog's questions" if "train" in in_catalog else _joined(data.train)),
            expected="one that was pre-trained on real text: the embedded one only knows the words "
            "of the embedded data",
            remedy="Give one, with settings that suit it: "
            + _own_command(_joined(data.train), _joined(data.dev)),
        )


def _joined(paths: Paths) -> str:
    return paths if isinstance(paths, str) else " and ".join(paths)


def _own_command(train: str, dev: str) -> str:
    return (
        f"kedro run --env own --params data.train={train},data.dev={dev},"
        "model.encoder=FOLDER_OR_HUB_ID"
    )


def _is_demo_encoder(encoder: str | None) -> bool:
    return encoder is not None and Path(encoder).resolve() == DEMO_ENCODER.resolve()


def _describe(fault: Any) -> InputError:
    location = [str(part) for part in fault["loc"]]
    for section, depth in ((["data", "sources"], 3), (["tune", "space"], 4)):
        if location[:2] == section:
            del location[depth : depth + 1]  # the kind, which pydantic puts before a field
    where = "parameter " + (".".join(location) or "as a whole")
    remedy = "Parameters live in conf/ and can be set with --params."
    if fault["type"] == "value_error" and isinstance(fault["ctx"]["error"], InputError):
        return fault["ctx"]["error"]
    if fault["type"] == "extra_forbidden":
        known = _fields_beside(location)
        close = get_close_matches(location[-1], known, n=1)
        if close:
            remedy = f"Did you mean {'.'.join([*location[:-1], close[0]])}? {remedy}"
        expected = f"one of {', '.join(known)}"
        return InputError(where=where, got="an unknown name", expected=expected, remedy=remedy)
    if fault["type"].startswith("union_tag"):
        return InputError(
            where=f"{where}.kind",
            got=fault["ctx"].get("tag", "nothing"),
            expected=fault["ctx"].get("expected_tags", "a kind, as its neighbours in conf/ have"),
            remedy=remedy,
        )
    if fault["type"] == "missing":
        return InputError(where=where, got="nothing", expected="a value", remedy=remedy)
    rule = fault["msg"].removeprefix("Input should be ")
    rule = rule.replace("String should match pattern", "text of the form")
    rule = rule.replace("String should have", "text of")
    return InputError(where=where, got=repr(fault["input"]), expected=rule, remedy=remedy)


def _fields_beside(location: list[str]) -> list[str]:
    """The names in the section of a parameter."""
    section: type[BaseModel] = Parameters
    for part in location[:-1]:
        field = section.model_fields.get(part)
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            break
        section = kind
    return list(section.model_fields)
