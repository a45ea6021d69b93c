"""How near training of RoBERTa large's shape on a GPU comes to its rate of bf16 matrix products.

Random weights, real lengths of up to 512 tokens (the sample of SQuAD 2.0), bf16 autocast, dropout
0.1, AdamW; updates of 48 windows, and of the 6 that each of eight GPUs has. Kernels are started one
by one or by CUDA graphs, and the layers are compiled or not. Prints the share of the GPU's own
rate, tokens per second, and the time of 5,430 updates.

    python benchmarks/bench_gpu.py

Without a GPU nothing is measured. `--try-on-cpu` runs the same lines on the CPU with two layers of
64, one by one and not compiled, to see that they run.
"""

import argparse
from itertools import product

import torch
from limit import Updates, product_rate
from readers import LARGE, sample_features

from common import header

RECIPE_UPDATES = 5430


def main() -> None:
    """Measures and prints a table, or says that there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=30)
    parser.add_argument("--windows", type=int, nargs="+", default=[48, 6])
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
    columns = "windows | kernels | layers | s per update | least to greatest | tokens/s | TFLOP/s"
    print(f"| {columns} | share | h for 5,430 updates |")
    print("| --- " * 9 + "|")
    # Layers are not compiled for the CPU.
    ways = [(graphed, compiled) for graphed in (False, True) for compiled in (False, True)]
    for windows, (graphed, compiled) in product(options.windows, ways):
        if compiled and options.try_on_cpu:
            continue
        updates = Updates(
            shape,
            features,
            device,
            dropout=dropout,
            micro_batch=windows,
            batch_size=windows,
            compiled=compiled,
            graphed=graphed,
        )
        # The first ones compile, and record the graphs of most lengths of a row.
        rate = updates.measure(options.updates, warm_up=options.warm_up)
        flops = rate.flop / rate.seconds
        print(
            f"| {windows} | {'graphs' if graphed else 'one by one'} "
            f"| {'compiled' if compiled else 'as they are'} | {rate.seconds:.4f} "
            f"| {rate.least:.4f} to {rate.greatest:.4f} "
            f"| {rate.tokens / rate.seconds:.0f} | {flops / 1e12:.3g} | {flops / best:.1%} "
            f"| {RECIPE_UPDATES * rate.seconds / 3600:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
