"""Knobs: named, typed, validated values that users, programs and the model set.

A spec says what a value may be; the registry holds the values and who declared them.
"""

from nbsession.knobs.registry import By, Knobs, Setting
from nbsession.knobs.spec import KnobSpec, equal

__all__ = ["By", "KnobSpec", "Knobs", "Setting", "equal"]
