"""One module a verb of the command: its arguments, and what it does."""
