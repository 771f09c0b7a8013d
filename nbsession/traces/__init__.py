"""Traces: what sessions do as OpenTelemetry spans, and what other tools recorded, opened as sessions are looked at.

The names are those of OpenTelemetry's semantic conventions for generative AI. Nothing of OpenTelemetry is
loaded before spans are asked for.
"""

from nbsession.traces.instrument import instrument
from nbsession.traces.load import Traces, load
from nbsession.traces.trace import Trace

__all__ = ["Trace", "Traces", "instrument", "load"]
