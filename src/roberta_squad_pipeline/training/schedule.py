"""The learning-rate schedule."""


def lr_multiplier(update: int, *, updates: int, warmup_updates: int, power: float) -> float:
    """The share of the peak learning rate at an update.

    It rises linearly from 0 at update 0, before training, to 1 at update `warmup_updates`, and
    falls as a power to 0 at the last update.

    Args:
        update: Counted from 1; 0 is the state before training.
        updates: Number of updates of the whole run.
        warmup_updates: At most `updates`.
        power: 1 falls linearly.
    """
    if update < warmup_updates:
        return update / warmup_updates
    if updates == warmup_updates:
        return 1.0
    left = (updates - update) / (updates - warmup_updates)
    return float(left**power)
