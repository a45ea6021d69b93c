"""Features to a trained reader."""
