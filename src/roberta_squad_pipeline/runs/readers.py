"""Readers of finished runs: where they are, and how another run names and uses them."""

import fnmatch
from pathlib import Path
from typing import Any

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.same_run import digest, weights_of
from roberta_squad_pipeline.runs.parameters import Parameters, config_loader

_FEWEST = 2


def matching(readers: Path, pattern: str) -> list[str]:
    """Names of the runs that have trained a reader and match a pattern."""
    trained = sorted(path.parent.name for path in readers.glob("*/reader.json"))
    return fnmatch.filter(trained, pattern)


def member_names(readers: Path, wanted: tuple[str, ...], run: str) -> list[str]:
    """Names of the members of an ensemble, each once.

    Args:
        readers: The folder of all runs' readers.
        wanted: Names, or patterns of names.
        run: The run that becomes the ensemble, which is no member of itself.

    Raises:
        InputError: One of them is not there or not finished, or there are fewer than two.
    """
    trained = matching(readers, "*")
    named: dict[str, None] = {}
    faults = []
    for name in wanted:
        found = [each for each in matching(readers, name) if each != run]
        if not found:
            begun = (readers / "_checkpoints" / name).is_dir()
            faults.append(f"{name}, {'a run that is not finished' if begun else 'no run'}")
        named |= dict.fromkeys(found)
    if not faults and len(named) < _FEWEST:
        faults.append(", ".join([*named, "nothing else"] if named else ["nothing"]))
    if faults:
        raise InputError(
            where="parameter ensemble.members",
            got="; ".join(faults),
            expected="two runs or more that have trained a reader "
            f"({', '.join(trained) or 'there is none'})",
            remedy="Correct the names, or train them first: kedro run --params run=NAME",
        )
    return list(named)


def file_of_run(project: Path, env: str | None, run: str | None, dataset: str) -> Path:
    """Where the catalog says that a run's file or folder is.

    Args:
        project: The project's folder.
        env: Kedro's environment.
        run: The run's name, or NAME/onnx; None stands for the experiment that conf/ names.
        dataset: The catalog's entry, such as reader.
    """
    loader = config_loader(project / "conf", env, reader_of(run) if run else {})
    return project / str(loader["catalog"][dataset]["filepath"])


def reader_of(run: str) -> dict[str, str]:
    """The parameters that say whose reader answers.

    Args:
        run: The run's name, or NAME/onnx: what its reader was exported to.
    """
    name = run.partition("/")[0]
    return {"run": name} if run == name else {"run": name, "reader": run}


def reader_parameters(folder: Path) -> dict[str, Any]:
    """Returns the parameters with which a reader answers as it was tuned to.

    Args:
        folder: The reader's folder.

    Raises:
        InputError: There is no reader.
    """
    from roberta_squad_pipeline.reader.storage import load_evaluation, load_header

    header, evaluation = load_header(folder), load_evaluation(folder)
    inference = (evaluation.inference if evaluation else header.inference).model_dump()
    if inference["precision"] != "fp32":  # one machine is fast in other 16 bits than another
        inference["precision"] = "auto"
    return {
        "model": {"start": str(folder), "encoder": None},
        "features": header.windows.model_dump(),
        "inference": inference,
    }


def other_readers(parameters: Parameters, readers: Path) -> dict[str, Any]:
    """The parameters that name other runs' readers, with short names of these readers' weights.

    Args:
        parameters: Of the run.
        readers: The folder of all runs' readers.
    """
    ensemble, distil, reader = parameters.ensemble, parameters.distil, parameters.reader
    members = {name for wanted in ensemble.members for name in matching(readers, wanted)}
    weights = {name: weights_name(readers / name) for name in members - {parameters.run}}
    return {
        "ensemble": ensemble.model_dump(mode="json") | {"weights": weights},
        "distil": distil.model_dump(mode="json") | {"weights": weights_name(distil.teacher)},
        "reader": reader and {"run": reader, "weights": weights_name(readers / reader)},
    }


def weights_name(reader: str | Path | None) -> str | None:
    """A short name of a reader's weights."""
    return digest(weights_of(reader)) if reader else None
