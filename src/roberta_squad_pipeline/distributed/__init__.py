"""Many processes, on one machine or several: torch.distributed and its elastic launcher."""
