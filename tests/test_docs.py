"""The documents are held against the code that they describe."""

import re
from pathlib import Path
from typing import Any

import pytest

from roberta_squad_pipeline.runs.parameters import Parameters

RECIPE = (Path(__file__).parents[1] / "docs/recipe.md").read_text(encoding="utf-8")

# Oracle: the training command of the published experiments, flag by flag.
FLAGS = """
    CUDA_VISIBLE_DEVICES DATA_DIR --restore-file --reset-optimizer --reset-dataloader --reset-meters
    --no-epoch-checkpoints --no-last-checkpoints --no-save-optimizer-state --task --max-positions
    --arch --dropout --attention-dropout --weight-decay --criterion --optimizer --adam-betas
    --adam-eps --clip-norm --lr-scheduler --lr --fp16 --fp16-init-scale --threshold-loss-scale
    --fp16-scale-window --memory-efficient-fp16 --warmup-updates --total-num-update --max-sentences
    --required-batch-size-multiple --update-freq --max-update --lr_decay --ddp-backend
    --num-workers
"""


@pytest.mark.parametrize("flag", FLAGS.split())
def test_every_flag_of_the_recipe_is_mapped(flag: str) -> None:
    first_cells = [line.split("|")[1] for line in RECIPE.splitlines() if line.startswith("| `")]
    mapped = {name for cell in first_cells for name in re.findall(r"[`\s]([A-Z_]+|--[\w-]+)", cell)}
    assert flag in mapped


def test_every_parameter_that_is_named_exists() -> None:
    named = re.findall(r"`((?:data|features|model|training|inference)\.[a-z_.]+)", RECIPE)
    assert named
    for name in named:
        section: Any = Parameters
        for part in name.rstrip(".").split("."):
            assert part in section.model_fields, name
            section = section.model_fields[part].annotation
