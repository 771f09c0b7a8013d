"""What a request takes: tokens as estimated and as reported, prices, budgets.

It knows nothing of sessions and models but their names. Two files of the user are read: prices of
one's own, and how estimates compared with what was reported, which is written, too.
"""

from nbsession.usage.budget import Budget
from nbsession.usage.cache_diagnosis import CacheDiagnosis
from nbsession.usage.calibration import Calibration, calibrated, observe
from nbsession.usage.prices import cost, priced_models, saved, set_price, window_of
from nbsession.usage.tokens import MESSAGE_OVERHEAD, Usage, estimate

__all__ = [
    "MESSAGE_OVERHEAD",
    "Budget",
    "CacheDiagnosis",
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
