"""What figures say and what they do not: means with intervals, comparisons with a verdict in words.

In plain Python: nothing here needs NumPy or SciPy. Chance is drawn from a seed, so equal values give equal figures.
"""

from nbsession.statistics.comparison import Comparison, compare, contrast, corrected
from nbsession.statistics.interval import LEVEL, Interval, Scores, interval, number
from nbsession.statistics.significance import holm
from nbsession.statistics.words import figure, shown, signed

__all__ = [
    "LEVEL",
    "Comparison",
    "Interval",
    "Scores",
    "compare",
    "contrast",
    "corrected",
    "figure",
    "holm",
    "interval",
    "number",
    "shown",
    "signed",
]
