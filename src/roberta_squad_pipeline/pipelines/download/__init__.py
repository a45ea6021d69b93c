"""Puts SQuAD files on disk."""
