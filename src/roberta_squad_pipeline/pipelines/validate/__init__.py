"""SQuAD files to a report on them."""
