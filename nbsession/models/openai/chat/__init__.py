"""Chat Completions: its request and its stream."""
