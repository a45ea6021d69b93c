"""`python -m roberta_squad_pipeline.distributed.start MODULE ...`: a worker, started sooner.

Imports make hundreds of thousands of objects and no garbage. Looking for garbage meanwhile takes a
fifth of a worker's start-up time, so the collector is off until the work begins.
"""

import gc
import runpy
import sys

if __name__ == "__main__":
    gc.disable()
    module, *sys.argv[1:] = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
