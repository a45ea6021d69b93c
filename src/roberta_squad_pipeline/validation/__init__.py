"""What is wrong or odd in SQuAD files: counted, placed, and with what to do about it."""
