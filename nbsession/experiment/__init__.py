"""Experiments: many cases under many settings, scored, and compared with a verdict in words."""
