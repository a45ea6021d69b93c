"""How near training on the CPU comes to the rate of a plain bf16 matrix product, and why not.

Updates of 48 windows of the real sample (up to 384 tokens), random weights, bf16 autocast, AdamW.
Counted are the operations that the model's matrix products need, forward and backward.

    python benchmarks/bench_limit.py
"""

import argparse
from collections import defaultdict
from functools import partial

import torch
from limit import Updates, product_rate
from readers import MINI, sample_features

from common import header

BASE = {"layers": 4, "hidden": 768, "heads": 12}
"""RoBERTa base's shape with a third of its layers."""
KINDS = {
    "products with weights": ("aten::mm", "aten::addmm"),
    "products of attention": ("aten::bmm",),
    "softmax": ("aten::_softmax",),
    "random numbers of dropout": ("aten::random_",),
    "copies and changes of number format": ("aten::copy_",),
    "GELU": ("aten::gelu", "aten::gelu_backward"),
    "LayerNorm": ("aten::native_layer_norm", "aten::native_layer_norm_backward"),
    "AdamW": ("aten::_fused_adamw_",),
    "dropout, and what attention does itself": ("_Dropped", "_OneByOne", "_OneByOneBackward"),
    "sums, products and masks, value by value": (
        *("aten::mul", "aten::mul_", "aten::add", "aten::add_", "aten::sub_", "aten::div_"),
        *("aten::ge", "aten::sum", "aten::fill_"),
    ),
}


def profile(updates: Updates) -> dict[str, float]:
    """Shares of the time of one update in this thread, by kind of operation."""
    updates.make(updates.batches())
    batches = updates.batches()
    with torch.profiler.profile() as profiler:
        updates.make(batches)
    kind_of = {name: kind for kind, names in KINDS.items() for name in names}
    taken: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        taken[kind_of.get(event.key, "all else")] += event.self_cpu_time_total
    whole = sum(taken.values())
    return {kind: taken[kind] / whole for kind in (*KINDS, "all else")}


def main() -> None:
    """Measures each shape with and without dropout and prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=4)
    parser.add_argument("--micro-batch", type=int, default=12)
    options = parser.parse_args()
    cpu = torch.device("cpu")
    features = sample_features("train", 384)
    print(header("torch", "transformers", "roberta_squad_pipeline"))
    best = product_rate(cpu, (512, 1024, 2048))
    print(f"A plain bf16 matrix product: {best / 1e9:.0f} GFLOP/s.\n")
    print("| encoder | dropout | s an update | tokens/s | GFLOP/s | share of a plain product |")
    print("| --- | --- | --- | --- | --- | --- |")
    profiles = {}
    for name, shape in (("6 layers of 384", MINI), ("4 layers of 768", BASE)):
        for dropout in (0.1, 0.0):
            make = partial(
                Updates, shape, features, cpu, dropout=dropout, micro_batch=options.micro_batch
            )
            updates = make()
            rate = updates.measure(options.updates, warm_up=1)
            flops = rate.flop / rate.seconds
            print(
                f"| {name} | {dropout} | {rate.seconds:.2f} | {rate.tokens / rate.seconds:.0f} "
                f"| {flops / 1e9:.0f} | {flops / best:.1%} |"
            )
            profiles[f"{name}, dropout {dropout}"] = profile(make(one_lane=True))
    print(f"\n| share of an update's time | {' | '.join(profiles)} |")
    print(f"| --- |{' --- |' * len(profiles)}")
    for kind in (*KINDS, "all else"):
        shares = " | ".join(f"{shares[kind]:.1%}" for shares in profiles.values())
        print(f"| {kind} | {shares} |")


if __name__ == "__main__":
    main()
