"""What is trained: encoder, heads, loss, batches, decoding."""
