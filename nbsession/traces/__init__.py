"""Traces: what sessions do as OpenTelemetry spans, and what other tools recorded, opened as sessions are looked at.

The names are those of OpenTelemetry's semantic conventions for generative AI. Nothing of OpenTelemetry is
loaded before spans are asked for.
"""

from nbsession.traces.instrument import instrument

__all__ = ["instrument"]
