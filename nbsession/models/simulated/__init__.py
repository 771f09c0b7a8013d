"""The simulated model: rules, no language model. What they read, how they match words, and what they answer."""

from nbsession.models.simulated.model import SimulatedModel

__all__ = ["SimulatedModel"]
