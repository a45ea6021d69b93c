"""The README and the documents are held against the code that they describe.

Oracle: the files and parameters of the project; `tests/end_to_end/test_docs.py` runs the commands.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from roberta_squad_pipeline.runs.parameters import Parameters

ROOT = Path(__file__).parents[1]
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
README, RECIPE = PAGES["README.md"], PAGES["docs/recipe.md"]

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


def exists(parameter: str) -> bool:
    section: Any = Parameters
    for part in parameter.rstrip(".").split("."):
        if part not in section.model_fields:
            return False
        section = section.model_fields[part].annotation
    return True


def test_every_parameter_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:data|features|model|training|inference)\.[a-z_.]+)", RECIPE))
    for page in PAGES.values():
        for given in re.findall(r"--params ([^\s`]+)", page):
            named |= set(re.findall(r"(?:^|,)([a-z_.]+)=", given))
    assert len(named) > 30
    assert {name for name in named if not exists(name)} == set()


def test_every_linked_file_exists() -> None:
    missing = [
        f"{page}: {link}"
        for page, text in PAGES.items()
        for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
        if not (ROOT / page).parent.joinpath(link).exists()
    ]
    assert missing == []


def test_the_contents_page_lists_every_page() -> None:
    contents = PAGES["docs/README.md"]
    pages = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert set(re.findall(r"\]\(([a-z_]+\.md)\)", contents)) == pages - {"README.md"}


def test_the_readme_is_short_and_has_the_two_commands() -> None:
    """Oracle: the commands that the project promises."""
    lines = README.splitlines()
    assert len(lines) <= 150
    assert "pip install -e . && kedro run" in lines
    assert 'pip install -e ".[dev]" && pytest' in lines


def test_every_code_block_is_run_or_says_what_it_needs() -> None:
    silent = []
    for page, text in PAGES.items():
        for before in re.findall(r"(.*)\n```(?:sh|python)\n", text):
            marker = re.fullmatch(r"<!-- (run|needs [^;]+)?(?:; )?(?:tested by (\S+))? -->", before)
            tested = marker and marker[2]
            if not marker or (tested and not (ROOT / tested).exists()):
                silent.append(f"{page}: {before}")
    assert silent == []


def test_the_walks_pass_what_exists() -> None:
    walks = PAGES["docs/code.md"].split("## Three walks")[1].split("## Files")[0]
    named = re.findall(r"`([a-z_.]+)\.(\w+)`", walks)
    assert len(named) > 15
    for module, name in named:
        assert hasattr(import_module(f"roberta_squad_pipeline.{module}"), name), f"{module}.{name}"
