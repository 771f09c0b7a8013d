"""What a request takes: tokens as estimated and as reported, prices, budgets.

Figures only; it knows nothing of sessions and models but their names.
"""

from nbsession.usage.budget import Budget
from nbsession.usage.calibration import Calibration, calibrated, observe
from nbsession.usage.prices import cost, priced_models, saved, set_price, window_of
from nbsession.usage.tokens import MESSAGE_OVERHEAD, Usage, estimate

__all__ = [
    "MESSAGE_OVERHEAD",
    "Budget",
    "Calibration",
    "Usage",
    "calibrated",
    "cost",
    "estimate",
    "observe",
    "priced_models",
    "saved",
    "set_price",
    "window_of",
]
