"""Draws thousands of SQuAD files, valid and broken, and says what came of each kind.

Every valid file goes through reading, validation, features, a random reader of one of six families
of encoders, and scoring; each prediction has to be a part of its passage. Every broken file has to
be rejected in one message that names file and place, by the reader and by the validation. Prints
two Markdown tables.

    python benchmarks/fuzz_squad.py --cases 2000
"""

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from common import header

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fuzzing.chain import Chain, make_chain, rejection, score
from fuzzing.squad_files import BROKEN, VALID, broken_file, valid_file
from tiny_encoders import MAKERS


def try_kind(
    strategy: st.SearchStrategy[bytes],
    file: Path,
    attempt: Callable[[Path, Chain], str],
    chains: Sequence[Chain],
    cases: int,
) -> Counter[str]:
    """Draws files of one kind, and an encoder for each, and counts what comes of them."""
    outcomes: Counter[str] = Counter()

    @seeded(0)
    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy, st.sampled_from(chains))
    def draw(content: bytes, chain: Chain) -> None:
        file.write_bytes(content)
        try:
            outcome = attempt(file, chain)
        except Exception as error:
            outcome = f"FAULT {type(error).__name__}"
            kept = Path(tempfile.mkdtemp(prefix="fuzz_squad_")) / "file.json"
            kept.write_bytes(content)
            print(f"{kept}:\n{traceback.format_exc()}", file=sys.stderr)
        outcomes[outcome] += 1

    draw()
    return outcomes


def scored(file: Path, chain: Chain) -> str:
    """What comes of a valid file."""
    return "scored" if score(file, chain) else "refused: a passage without a token"


def rejected(file: Path, chain: Chain) -> str:
    """What comes of a broken file."""
    return "accepted" if rejection(file, chain) is None else "rejected"


def print_table(kind: str, outcomes: dict[str, Counter[str]]) -> None:
    """One row a kind."""
    print(f"\n| {kind} | cases | what came of them |\n| --- | --- | --- |")
    for name, counted in outcomes.items():
        said = ", ".join(f"{outcome} {count}" for outcome, count in counted.most_common())
        print(f"| {name} | {counted.total()} | {said} |")
    total = sum((counted for counted in outcomes.values()), Counter())
    said = ", ".join(f"{outcome} {count:,}" for outcome, count in total.most_common())
    print(f"| all | {total.total():,} | {said} |", flush=True)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="In all, at least.")
    cases = -(-parser.parse_args().cases // (len(VALID) + len(BROKEN)))
    torch.set_num_threads(1)
    print(header("hypothesis", "jiter", "pydantic", "tokenizers", "torch", "transformers"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        chains = []
        for family, make in MAKERS.items():
            (folder / family).mkdir()
            chains.append(make_chain(make(folder / family)))
        file = folder / "file.json"
        print_table(
            "valid files of",
            {kind: try_kind(valid_file(kind), file, scored, chains, cases) for kind in VALID},
        )
        print_table(
            "broken files",
            {kind: try_kind(broken_file(kind), file, rejected, chains, cases) for kind in BROKEN},
        )


if __name__ == "__main__":
    main()
