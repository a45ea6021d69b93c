"""A file of questions to a file of answers."""
