"""Which pipelines `kedro run --pipelines NAME` knows."""

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.pipelines.compare import pipeline as compare
from roberta_squad_pipeline.pipelines.download import pipeline as download
from roberta_squad_pipeline.pipelines.ensemble import pipeline as ensemble
from roberta_squad_pipeline.pipelines.evaluate import pipeline as evaluate
from roberta_squad_pipeline.pipelines.export_onnx import pipeline as export_onnx
from roberta_squad_pipeline.pipelines.features import pipeline as features
from roberta_squad_pipeline.pipelines.import_fairseq import pipeline as import_fairseq
from roberta_squad_pipeline.pipelines.inference import pipeline as inference
from roberta_squad_pipeline.pipelines.predict import pipeline as predict
from roberta_squad_pipeline.pipelines.train import pipeline as train
from roberta_squad_pipeline.pipelines.validate import pipeline as validate


def register_pipelines() -> dict[str, Pipeline]:
    """One pipeline per stage; `train` includes the two before it, so that it works alone."""
    up_to_features = download.create_pipeline() + features.create_pipeline()
    up_to_train = up_to_features + train.create_pipeline()
    predict_and_score = inference.create_pipeline() + evaluate.create_pipeline()
    return {
        "compare": compare.create_pipeline(),
        "download": download.create_pipeline(),
        "validate": download.create_pipeline() + validate.create_pipeline(),
        "features": features.create_pipeline(),
        "export_onnx": export_onnx.create_pipeline(),
        "import_fairseq": import_fairseq.create_pipeline(),
        "train": up_to_train,
        "predict": predict.create_pipeline(),
        "inference": inference.create_pipeline(),
        "evaluate": evaluate.create_pipeline(),
        "ensemble": (up_to_features + ensemble.create_pipeline() + predict_and_score).to_nodes(
            "evaluate.write_report"
        ),
        # For the reader of another run, on dev questions only.
        "evaluate_elsewhere": (up_to_features + predict_and_score).to_nodes(
            "evaluate.write_report"
        ),
        "distil": up_to_train + predict_and_score,
        "__default__": up_to_train + predict_and_score,
    }
