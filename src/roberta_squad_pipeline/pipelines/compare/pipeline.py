"""The comparison pipeline."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.compare.nodes import compare_experiments


def create_pipeline() -> Pipeline:
    """From tracked runs to the experiment table."""
    return Pipeline(
        [
            node(
                compare_experiments,
                ["squad_files", "params:experiments", "params:tracking", "expected_settings"],
                {
                    "markdown": "experiments_markdown",
                    "rows": "experiments_csv",
                    "figure": "experiments_figure",
                },
                name="compare_experiments",
                namespace="compare",
            )
        ]
    )
