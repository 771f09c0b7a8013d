"""A sweep in the notebook: how it is asked for, and its table, live and saved."""
