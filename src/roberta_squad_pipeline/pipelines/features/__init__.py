"""SQuAD files to features."""
