"""What `kedro registry list` costs, and what tags choose."""

import subprocess
import sys
from pathlib import Path

from roberta_squad_pipeline.pipeline_registry import register_pipelines
from roberta_squad_pipeline.pipelines import stage

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
        "distil",
        "download",
        "ensemble",
        "evaluate",
        "evaluate_elsewhere",
        "features",
        "inference",
        "predict",
        "train",
        "validate",
    )
    for name in names:
        assert f"- {name}\n" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_tags_leave_out_nothing_between() -> None:
    """Oracle: Kedro's own walk from the chosen nodes on, and up to them."""
    chain = register_pipelines()["__default__"]
    chosen = {}
    for tag in ("data", "training", "evaluation", "tracked"):
        nodes = chain.only_nodes_with_tags(tag)
        names = [node.name for node in nodes.nodes]
        between = chain.from_nodes(*names) & chain.to_nodes(*names)
        assert set(names) == {node.name for node in between.nodes}
        chosen[tag] = set(names)
    tracked = chosen.pop("tracked")
    assert tracked == chosen["training"] | chosen["evaluation"]
    assert sum(map(len, chosen.values())) == len(chain.nodes)
    assert len(set.union(*chosen.values())) == len(chain.nodes)


def test_the_table_of_questions_is_written_before_what_is_computed_from_it() -> None:
    """Oracle: Kedro saves the outputs of a node in their order."""
    nodes = {node.name: node for node in register_pipelines()["evaluate"].nodes}
    assert nodes["evaluate.score_predictions"].outputs[0] == "questions"


def test_a_stage_takes_what_its_arguments_are_called() -> None:
    def work(trained: object, dev_features: object, data: object, folder: object) -> None: ...

    one = stage(work, folder="params:data.folder")
    assert one.inputs == ["reader", "dev_features", "params:data", "params:data.folder"]
    assert (one.name, one.outputs) == ("work", [])
    assert stage(work, "made").outputs == ["made"]
    assert stage(work, "made", "told").outputs == ["made", "told"]
