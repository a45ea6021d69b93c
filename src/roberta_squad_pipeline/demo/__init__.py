"""The embedded data set: an invented world, questions on it, and an encoder for its prose."""
