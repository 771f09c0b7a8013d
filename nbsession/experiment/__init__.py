"""Experiments: cases asked under several arms, scored and compared; stored, so that they go on where they were.

``Experiment`` plans and runs; ``Run`` is what comes of it, trial by trial. ``equals``, ``contains``, ``matches``, ``valid`` and
``judge`` are scorers; any function of a result and its case is one.
"""

from nbsession.experiment.arm import Arm
from nbsession.experiment.arm_report import ArmReport
from nbsession.experiment.case import Case
from nbsession.experiment.engine import Engine
from nbsession.experiment.experiment import Experiment
from nbsession.experiment.judge import judge
from nbsession.experiment.judge_plan import JudgePlan
from nbsession.experiment.plan import ArmPlan, Plan
from nbsession.experiment.report import Flip, Report
from nbsession.experiment.run import Progress, Run
from nbsession.experiment.scorers import contains, equals, matches, valid
from nbsession.experiment.trial import Trial

__all__ = [
    "Arm",
    "ArmPlan",
    "ArmReport",
    "Case",
    "Engine",
    "Experiment",
    "Flip",
    "JudgePlan",
    "Plan",
    "Progress",
    "Report",
    "Run",
    "Trial",
    "contains",
    "equals",
    "judge",
    "matches",
    "valid",
]
