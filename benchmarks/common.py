"""What benchmarks share: sides that take turns, ratios, a header, and the sample enlarged."""

import importlib.metadata
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"
"""Real SQuAD questions and RoBERTa's own tokenizer, beside the project."""
RATIOS = "BENCH_RATIOS"
"""Variable of the environment with the file that ratios are told to, a line of JSON each."""


def take_turns(
    sides: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Times several sides one after the other, again and again, so that a slow spell hits all.

    Args:
        sides: What to time, by name.
        repeats: How often each is timed.
        warm_up: How often each runs before that, untimed.

    Returns:
        Seconds of every timed run, by name.
    """
    for _ in range(warm_up):
        for side in sides.values():
            side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def times_faster(
    seconds: Mapping[str, list[float]], ours: str, theirs: str, *, stage: str | None = None
) -> float:
    """How many times as fast one side is as another: the ratio of median seconds.

    Args:
        seconds: Of every turn, by side.
        ours: The side that is faster, if all is well.
        theirs: The side that it is beside.
        stage: Under which `benchmarks/all.py`, if it asks, is told the ratio and those of the
            single turns.
    """
    ratio = statistics.median(seconds[theirs]) / statistics.median(seconds[ours])
    if stage is not None and (told := os.environ.get(RATIOS)):
        turns = [their / our for their, our in zip(seconds[theirs], seconds[ours], strict=True)]
        row = {"stage": stage, "ratio": ratio, "least": min(turns), "greatest": max(turns)}
        with Path(told).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return ratio


def spread(values: list[float]) -> str:
    """Median, and least and greatest behind it."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def peak_memory_mb() -> float:
    """The most memory that this process has held at once, in MB (1,000,000 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # Linux counts in KiB


def header(*packages: str) -> str:
    """Machine and versions, as a paragraph for a results file.

    Args:
        packages: Whose versions matter beside Python's.
    """
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return (
        f"{time.strftime('%Y-%m-%d')}. {len(os.sched_getaffinity(0))} cores ({processor}), "
        f"{memory_gib:.0f} GiB, {platform.system()}, Python {platform.python_version()}, "
        f"{versions}."
    )


def write_enlarged(source: Path, target: Path, times: int) -> None:
    """Writes a SQuAD file with every article several times, all passages and ids distinct.

    A passage is made distinct by words at its end, so that every answer stays where it is. A
    tokenizer that remembers words finds more of them remembered than in as many real passages.

    Args:
        source: A SQuAD file.
        target: What to write.
        times: How often each article comes; 1 writes the content of `source`.
    """
    content = json.loads(source.read_bytes())
    with target.open("w", encoding="utf-8") as file:
        file.write(f'{{"version": {json.dumps(content.get("version"))}, "data": [')
        for copy in range(times):
            for number, article in enumerate(content["data"]):
                file.write(", " * bool(copy or number) + json.dumps(_copied(article, copy)))
        file.write("]}")


def _copied(article: dict, copy: int) -> dict:
    if copy == 0:
        return article
    paragraphs = [
        {
            **paragraph,
            "context": f"{paragraph['context']} Copy {copy}.",
            "qas": [{**entry, "id": f"{entry['id']}-{copy}"} for entry in paragraph["qas"]],
        }
        for paragraph in article["paragraphs"]
    ]
    return {**article, "paragraphs": paragraphs}
