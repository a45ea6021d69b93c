"""The course of a study, with a formula in place of training.

Oracle: by hand, which runs are made, and which are not made again.
"""

import itertools
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.config import OmegaConfigLoader

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.runs.parameters import load_parameters, project_parameters
from roberta_squad_pipeline.settings import CONFIG_LOADER_ARGS

optuna = pytest.importorskip("optuna")
tune = pytest.importorskip("roberta_squad_pipeline.runs.tune")

Changes = dict[str, Any]
FAIL = {"s_trial1"}
LR_ALONE = {"training": {"layer_decay": None}, "model": {"dropout": None}}
MADE_OF = {"training": {"seed": 1}}


def tuning(folder: Path, **config: Any) -> Any:
    storage = {"study": "s", "storage": f"sqlite:///{folder / 'tune.db'}", "space": LR_ALONE}
    params = {"tune": storage | config}
    loader = OmegaConfigLoader("conf", env="base", runtime_params=params, **CONFIG_LOADER_ARGS)
    return tune.Tuning(Path.cwd(), "base", params, load_parameters(loader))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Changes]:
    """The runs that are made, and what each changes; its score is the higher, the lower its rate.

    One that has `None` here beforehand is interrupted.
    """
    runs: dict[str, Changes] = {}

    def run(
        tuning: Any, name: str, changes: Changes, parent: str, judge: Any = None
    ) -> float | None:
        if runs.get(name, {}) is None:
            raise KeyboardInterrupt
        assert name not in runs
        runs[name] = changes
        return None if name in FAIL else 100 - changes["training"].get("lr", 0)

    monkeypatch.setattr(tune, "_run", run)
    return runs


def search(given: Any) -> Any:
    study = tune._open_study(given, MADE_OF)
    tune._take_up(study, given.place)
    tune._search(given, study, "parent", lambda said: None)
    return study


def test_a_study_goes_on_and_repeats_nothing(tmp_path: Path, made: dict[str, Any]) -> None:
    """The second run fails by itself, the third one is interrupted."""
    made["s_trial2"] = None
    with pytest.raises(KeyboardInterrupt):
        search(tuning(tmp_path, trials=4))
    assert list(made) == ["s_trial2", "s_trial0", "s_trial1"]
    # The first trial is what conf/ says.
    assert made["s_trial0"]["training"]["lr"] == pytest.approx(1.8e-5 * 33.3)

    interrupted = tuning(tmp_path, trials=4)
    [begun] = tune.running(tune._open_study(interrupted, MADE_OF))
    del made["s_trial2"]
    study = search(interrupted)
    # It goes on under the name under which its checkpoints are, and with the same settings.
    assert list(made) == ["s_trial0", "s_trial1", "s_trial2", "s_trial4"]
    assert made["s_trial2"]["training"]["lr"] == begun.params["training.lr"]
    assert len({changes["training"]["lr"] for changes in made.values()}) == 4
    best, *_, last = tune.finished(study)
    assert best.value == max(100 - made[name]["training"]["lr"] for name in made.keys() - FAIL)
    assert last.user_attrs["run"] == "s_trial1"

    search(tuning(tmp_path, trials=4))
    assert len(made) == 4
    search(tuning(tmp_path, trials=5))
    assert list(made)[4:] == ["s_trial5"]

    with pytest.raises(InputError, match=r"training.seed: 1 there, 2 here.*tune.study=NAME"):
        tune._open_study(interrupted, {"training": {"seed": 2}})


def test_equal_settings_are_run_once(tmp_path: Path, made: dict[str, Any]) -> None:
    batch_size = {"kind": "choices", "values": [8]}
    space = {"training": {"lr": None, "layer_decay": None, "batch_size": batch_size}}
    study = search(tuning(tmp_path, trials=3, space=space | {"model": {"dropout": None}}))
    assert made == {"s_trial0": {"training": {"batch_size": 8}}}
    assert [trial.value for trial in tune.finished(study)] == [100] * 3
    # No trial was validated while it was trained.
    assert set(tune.figures_of(study, "F1")) == {"history", "slices"}


def test_trials_that_fall_behind_are_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the median by hand, 65 half-way through once two trials have ended."""
    half_way = iter([60.0, 70.0, 64.0, 66.0])

    def run(tuning: Any, name: str, changes: Changes, parent: str, judge: Any) -> float:
        judge(0.0, 0.2)  # too early to tell
        judge(next(half_way), 0.5)
        judge(0.0, 1.0)  # nothing is left to spare
        return 90.0

    monkeypatch.setattr(tune, "_run", run)
    given = tuning(tmp_path, trials=4)
    study = search(given)
    *scored, pruned = tune.finished(study)
    assert _scores(scored) == [90, 90, 90]
    assert (pruned.number, pruned.state.name) == (2, "PRUNED")
    _, [row] = tune._table(given, [pruned], {})
    assert (row[0], row[2]) == ("s_trial2", "pruned at 50 %")
    figures = tune.figures_of(study, "F1")
    assert {name: len(figure.data) > 0 for name, figure in figures.items()} == {
        "history": True,
        "slices": True,
        "validation": True,
    }
    assert figures["validation"].layout.yaxis.title.text == "validation score"
    assert "best so far" in [line.name for line in figures["history"].data]
    assert tune.known_score(study, pruned.params) is None
    assert tune.judge_of(tuning(tmp_path, prune=False), pruned) is None


def test_what_another_machine_makes_is_left_to_it(tmp_path: Path, made: dict[str, Any]) -> None:
    given = tuning(tmp_path, trials=3)
    study = tune._open_study(given, MADE_OF)
    trial, _ = tune.ask(given, study)
    trial.set_user_attr("place", "elsewhere:/folder")
    search(given)
    assert len(made) == 2
    assert [trial.number for trial in tune.running(study)] == [0]


def test_the_last_trial_is_begun_once(
    tmp_path: Path, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine begins it between this one's look and its asking, and is interrupted later.

    Oracle: by hand, trials 0 and 1 here, 2 there, 3 given up, 4 here in the place of 2.
    """
    given, ask = tuning(tmp_path, trials=3), tune.ask
    elsewhere: list[Any] = []

    def ask_second(given: Any, study: Any) -> Any:
        if len(made) == 2 and not elsewhere:
            elsewhere.append(ask(given, study)[0])
        return ask(given, study)

    monkeypatch.setattr(tune, "ask", ask_second)
    study = search(given)
    assert list(made) == ["s_trial0", "s_trial1"]
    assert [trial.number for trial in tune.running(study)] == [2]
    assert [trial.number for trial in tune.finished(study)] == [0, 1]
    assert study.trials[3].state.name == "FAIL"
    search(given)
    assert list(made) == ["s_trial0", "s_trial1", "s_trial2"]
    assert sorted(trial.number for trial in tune.finished(study)) == [0, 1, 4]


def test_time_that_is_over_begins_no_trial(tmp_path: Path, made: dict[str, Any]) -> None:
    search(tuning(tmp_path, timeout_minutes=1e-9))
    assert made == {}


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty database of a server of its own, which listens at a socket alone."""
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        pytest.skip("there is no PostgreSQL")
    pytest.importorskip("psycopg")
    with tempfile.TemporaryDirectory() as folder:
        # It does not run as root; what installs it on Linux adds this user.
        as_user: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
        if as_user:
            shutil.chown(folder, "postgres")
        data = f"{folder}/data"
        subprocess.run(
            ["initdb", "-D", data, "-U", "tune", "-A", "trust", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
            **as_user,
        )
        server = subprocess.Popen(
            ["postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-F"],
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            **as_user,
        )
        assert server.stderr is not None
        assert any("ready to accept connections" in line for line in server.stderr)
        yield f"postgresql+psycopg://tune@/postgres?host={folder}"
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)


def test_two_machines_share_a_study_on_postgresql(
    tmp_path: Path, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each makes trials of its own, and none is made by both."""

    def run(tuning: Any, name: str, changes: Changes, parent: str, judge: Any) -> float:
        (tuning.project / name).touch()
        time.sleep(0.2)
        return 100 - float(changes["training"]["lr"])

    monkeypatch.setattr(tune, "_run", run)
    machines = [tmp_path / "one", tmp_path / "other"]
    for machine in machines:
        machine.mkdir()
    shared = replace(tuning(tmp_path, trials=10, storage=postgresql), project=tmp_path)
    study = tune._open_study(shared, MADE_OF)
    forked = multiprocessing.get_context("fork")
    given = [replace(shared, project=machine) for machine in machines]
    processes = [forked.Process(target=search, args=(one,)) for one in given]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    made = [sorted(path.name for path in machine.iterdir()) for machine in machines]
    assert all(made)
    names = [trial.user_attrs["run"] for trial in tune.finished(study)]
    assert len(names) == 10
    assert sorted(names) == sorted(itertools.chain(*made))
    assert tune.running(study) == []


def test_a_trial_that_another_machine_has_only_just_begun_is_left_to_it(tmp_path: Path) -> None:
    """It says where it is a moment later; one of yesterday's that never did was interrupted."""
    given = tuning(tmp_path)
    study = tune._open_study(given, MADE_OF)
    study.ask()
    tune._take_up(study, given.place)
    (begun,) = tune.running(study)
    begun.datetime_start = datetime.now() - timedelta(days=1)
    assert tune._is_of(given.place, begun)
    begun.user_attrs[tune._PLACE] = "elsewhere"
    assert not tune._is_of(given.place, begun)


def _trials(*scored: tuple[float, float]) -> list[Any]:
    lr = optuna.distributions.FloatDistribution(0, 1)
    study = optuna.create_study(direction="maximize")
    for rate, score in scored:
        study.add_trial(
            optuna.create_trial(
                params={"training.lr": rate}, distributions={"training.lr": lr}, value=score
            )
        )
    return tune.finished(study)


def _scores(trials: list[Any]) -> list[float]:
    return [trial.value for trial in trials]


def test_finalists_are_ranked_by_the_mean_over_their_seeds() -> None:
    """Oracle: means 73, 75 and 80 by hand, the last of a finalist that failed with a seed."""
    trials = _trials((0.1, 60), (0.2, 80), (0.3, 70), (0.4, 76), (0.2, 80))
    assert _scores(trials) == [80, 80, 76, 70, 60]
    assert _scores(tune.distinct(trials)) == [80, 76, 70, 60]
    seeds = {trials[0].number: [80.0], trials[2].number: [76, 70], trials[3].number: [70, 80]}
    assert _scores(tune.ranking(trials, seeds)) == [70, 76, 80, 80, 60]


def test_the_winner_is_run_with_what_it_was_tuned_with(tmp_path: Path) -> None:
    """Oracle: the parameters of the winning trial's run, but for names.

    The study is itself on the winner of another one.
    """
    experiments = tmp_path / "conf/experiments"
    experiments.mkdir(parents=True)
    for part in ("base", "local"):
        (tmp_path / "conf" / part).symlink_to(Path("conf", part).absolute())
    (experiments / "earlier_best.yml").write_text("training: {weight_decay: 0.5, lr: 1}")
    given = replace(tuning(tmp_path), project=tmp_path)
    given.params["experiment"] = "earlier_best"
    values = {"training.lr": 2e-3, "features.stride": 32}
    winner = tune.winning_parameters(given, values)
    assert winner == {
        "training": {"weight_decay": 0.5, "lr": 2e-3},
        "features": {"stride": 32},
    }
    (experiments / "s_best.yml").write_text(yaml.safe_dump(winner))
    own = project_parameters(given.project, given.env, {"experiment": "s_best"})
    assert own.run == "s_best"
    changes = {"training": {"lr": 2e-3}, "features": {"stride": 32}}
    trial = given.planned_run("s_trial3", changes, "s")
    named = {"run", "feature_set", "tune"}
    assert own.model_dump(exclude=named) == trial.parameters.model_dump(exclude=named)
    assert (own.training.lr, own.training.weight_decay) == (2e-3, 0.5)


def test_runs_share_features_where_they_read_the_same_windows(tmp_path: Path) -> None:
    given = tuning(tmp_path)

    def feature_set(changes: Changes) -> str:
        return given.planned_run("s_trial1", changes, "s").parameters.feature_set

    assert feature_set({"training": {"lr": 1e-3}, "model": {"dropout": 0.1}}) == "s"
    shorter = feature_set({"features": {"stride": 32}})
    assert shorter.startswith("s_")
    assert shorter == feature_set({"features": {"stride": 32}, "training": {"lr": 1e-3}})
    assert shorter != feature_set({"features": {"stride": 16}})


@pytest.mark.parametrize("url", ["postgresql+no_driver://me:hidden@127.0.0.1/x", "sqlite:////no/x"])
def test_a_storage_that_does_not_answer_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match=r"tune.storage: got .*does not answer") as caught:
        tune._open_study(tuning(tmp_path, storage=url), MADE_OF)
    assert "hidden" not in str(caught.value)
