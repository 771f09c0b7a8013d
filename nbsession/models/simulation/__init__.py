"""The rules of the simulated model: what they read, how they match words, and what they answer."""
