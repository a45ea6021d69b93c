"""Kedro's project settings."""

from roberta_squad_pipeline.runs.experiments import RESOLVERS, ConfigLoader
from roberta_squad_pipeline.runs.hooks import TrackingHooks
from roberta_squad_pipeline.runs.session import watch_sessions

HOOKS = (TrackingHooks(),)

watch_sessions()

CONFIG_LOADER_CLASS = ConfigLoader
# An environment overrides single parameters of conf/base, not whole sections.
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft"},
    "custom_resolvers": RESOLVERS,
}
