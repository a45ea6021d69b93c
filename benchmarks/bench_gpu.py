"""How near training of RoBERTa large's shape on a GPU comes to its rate of bf16 matrix products.

Random weights, real lengths of up to 512 tokens (the sample of SQuAD 2.0), updates of 48 windows,
bf16 autocast, dropout 0.1, AdamW; with and without torch.compile of the layers. Prints the share of
the GPU's own rate, tokens per second, and the time for the recipe's 5,430 updates of 48.

    python benchmarks/bench_gpu.py

Without a GPU nothing is measured. `--try-on-cpu` runs the same lines on the CPU with two layers of
64 and without dropout, whose form on the CPU does not compile, to see that they run.
"""

import argparse

import torch
from limit import Updates, product_rate
from readers import LARGE, sample_features

from common import header

RECIPE_UPDATES = 5430


def main() -> None:
    """Measures and prints a table, or says that there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=30)
    parser.add_argument("--micro-batch", type=int, default=48)
    parser.add_argument("--try-on-cpu", action="store_true")
    options = parser.parse_args()
    shape, device, sizes = LARGE, torch.device("cuda"), (4096, 8192, 16384)
    dropout = 0.0 if options.try_on_cpu else 0.1
    if options.try_on_cpu:
        shape, device, sizes = {"layers": 2, "hidden": 64, "heads": 4}, torch.device("cpu"), (512,)
    elif not torch.cuda.is_available():
        print("No GPU here: not measured.")
        return
    features = sample_features("train", 512)
    best = product_rate(device, sizes)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(header("torch", "transformers", "roberta_squad_pipeline"))
    print(f"{name}: a plain bf16 matrix product makes {best / 1e12:.3g} TFLOP/s.\n")
    print("| layers | s an update | tokens/s | TFLOP/s | share | h for 5,430 updates |")
    print("| --- | --- | --- | --- | --- | --- |")
    for compiled in (False, True):
        updates = Updates(
            shape,
            features,
            device,
            dropout=dropout,
            micro_batch=options.micro_batch,
            compiled=compiled,
        )
        # The first ones compile, for a window count or two.
        rate = updates.measure(options.updates, warm_up=5)
        flops = rate.flop / rate.seconds
        print(
            f"| {'compiled' if compiled else 'as they are'} | {rate.seconds:.4f} "
            f"| {rate.tokens / rate.seconds:.0f} | {flops / 1e12:.3g} | {flops / best:.1%} "
            f"| {RECIPE_UPDATES * rate.seconds / 3600:.2f} |"
        )


if __name__ == "__main__":
    main()
