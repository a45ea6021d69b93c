"""Which pipelines `kedro run --pipelines NAME` knows."""

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.pipelines import (
    compare,
    download,
    ensemble,
    evaluate,
    export_onnx,
    features,
    import_fairseq,
    inference,
    predict,
    report,
    train,
    validate,
)


def register_pipelines() -> dict[str, Pipeline]:
    """One pipeline per stage; `train` includes the two before it, so that it works alone."""
    validated_features = validate.admission() + features.create_pipeline()
    up_to_features = download.create_pipeline() + validated_features
    up_to_train = up_to_features + train.create_pipeline()
    score = evaluate.create_pipeline() + report.create_pipeline()
    predict_and_score = inference.create_pipeline() + score
    return {
        "compare": compare.create_pipeline(),
        "download": download.create_pipeline(),
        "validate": download.create_pipeline() + validate.create_pipeline(),
        "features": validated_features,
        "export_onnx": export_onnx.create_pipeline(),
        "import_fairseq": import_fairseq.create_pipeline(),
        "train": up_to_train,
        "predict": predict.create_pipeline(),
        "inference": inference.create_pipeline(),
        "evaluate": score,
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
