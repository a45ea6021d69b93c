"""Which finished runs an ensemble is made of."""

from fnmatch import fnmatch
from pathlib import Path

from roberta_squad_pipeline.common.errors import InputError

_FEWEST = 2


def matching(readers: Path, pattern: str) -> list[str]:
    """Names of the runs that have trained a reader and match a pattern."""
    trained = sorted(path.parent.name for path in readers.glob("*/reader.json"))
    return [name for name in trained if fnmatch(name, pattern)]


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
