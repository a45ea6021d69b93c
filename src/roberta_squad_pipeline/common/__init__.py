"""What every hall uses, and what depends on none of them."""
