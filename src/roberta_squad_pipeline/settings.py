"""Kedro's project settings."""

import atexit
import gc

from roberta_squad_pipeline.runs.experiments import RESOLVERS, ConfigLoader
from roberta_squad_pipeline.runs.hooks import TrackingHooks
from roberta_squad_pipeline.runs.session import watch_sessions

HOOKS = (TrackingHooks(),)

watch_sessions()
# What is imported is no garbage, and is hundreds of thousands of objects: by default Python goes
# through them some ten times while they are made, and again before it ends.
gc.set_threshold(100_000, 50)
atexit.register(gc.freeze)

CONFIG_LOADER_CLASS = ConfigLoader
# An environment overrides single parameters of conf/base, not whole sections.
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft"},
    "custom_resolvers": RESOLVERS,
}
