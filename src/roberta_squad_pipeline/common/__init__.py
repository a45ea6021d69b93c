"""What every hall uses, and what knows none of them."""
