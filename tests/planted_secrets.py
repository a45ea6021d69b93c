"""Secrets in every place that a user may have them, and where they may be found afterwards."""

import json
import shutil
from pathlib import Path
from typing import Any

from roberta_squad_pipeline.demo import PACKAGED_ENCODER

ROOT = Path(__file__).parents[1]

PLACES = ("number", "credentials", "catalog", "globals", "train", "dev", "uri", "user", "signature")
SECRETS = {place: f"hush-{place}" for place in PLACES} | {"number": "904817532960148"}
"""By the place that they are planted in.

The number is long, since a record is full of digits and six of them in a row are met by chance.
"""

FAR = f"https://{SECRETS['user']}:{SECRETS['uri']}@127.0.0.1:9/a.json?sig={SECRETS['signature']}"


def plant_secrets(project: Path, squad: dict[str, Any]) -> dict[str, Any]:
    """Gives a project a conf/local, credentials, data and an encoder.

    Two files of conf/local set something below `data`.

    Args:
        project: Whose conf/ is a link.
        squad: Its questions.

    Returns:
        The parameters to run it with.
    """
    (project / "conf").unlink()
    train = f"{SECRETS['train']}.json"
    shutil.copytree(ROOT / "conf", project / "conf", ignore=shutil.ignore_patterns("local"))
    local = {
        "credentials.yml": {
            "store": {"key": SECRETS["credentials"], "pin": int(SECRETS["number"])}
        },
        "catalog.yml": {
            "bucket": {
                "type": "json.JSONDataset",
                "filepath": f"s3://{SECRETS['catalog']}/x.json",
                "credentials": "store",
            }
        },
        "globals.yml": {"place": SECRETS["globals"]},
        "parameters.yml": {
            "data": {"train": f"{SECRETS['train']}.json"},
            "inference": {"n_best": 7},
        },
        "parameters_more.yml": {"data": {"dev": f"{SECRETS['dev']}/dev.json"}},
    }
    (project / "conf/local").mkdir()
    for name, content in local.items():
        (project / "conf/local" / name).write_text(json.dumps(content))
    (project / SECRETS["dev"]).mkdir()
    for path in (train, f"{SECRETS['dev']}/dev.json"):
        (project / path).write_text(json.dumps(squad))
    # Where it lies, it is trained on the embedded data alone.
    shutil.copytree(PACKAGED_ENCODER, project / "encoder")
    source = {"kind": "remote", "url": FAR, "sha256": "null", "size_bytes": "null"}
    return {"model.encoder": "encoder"} | {f"data.sources.far.{k}": v for k, v in source.items()}


def check_secrets(project: Path, said: str, *recorded: Path) -> None:
    """No secret is on the terminal, in a record or in what a run leaves.

    But for the paths of the run's own files: the terminal and results of this machine know them.

    Args:
        project: See `plant_secrets`.
        said: On the terminal.
        recorded: Files and folders of MLflow.
    """
    places = {place for place, secret in SECRETS.items() if secret in "".join(said.split())}
    assert places <= {"train", "dev"}, said
    files = [path for one in recorded for path in (one, *one.rglob("*")) if path.is_file()]
    assert files
    found = [(path, place) for path in files for place in secrets_in(path)]
    own = [project / "conf/local", project / SECRETS["dev"], project / f"{SECRETS['train']}.json"]
    for path in project.rglob("*"):
        if path.is_file() and not any(path.is_relative_to(one) for one in own):
            found += [(path, place) for place in secrets_in(path) - {"train", "dev"}]
    assert found == [], found


def secrets_in(path: Path) -> set[str]:
    content = path.read_bytes()
    return {place for place, secret in SECRETS.items() if secret.encode() in content}
