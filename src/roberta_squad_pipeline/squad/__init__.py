"""The questions: files of them, what makes one unfit, and where they come from."""
