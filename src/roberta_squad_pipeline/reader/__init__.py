"""What is trained and loaded: encoder and heads, their batches, and their folder."""
