"""Tracing of this process by the settings; the optional library is imported only if they ask for it."""

from typing import TYPE_CHECKING

from anyseek.search.errors import BadInput
from anyseek.search.settings import Settings
from anyseek.search.telemetry import spans

if TYPE_CHECKING:
    from anyseek.search.telemetry.opentelemetry_spans import OpenTelemetry


class TelemetryMissing(BadInput):
    code = "telemetry-missing"


def start(settings: Settings, service: str) -> None:
    """Trace this process if the settings ask for it; call it after forks. Raises `TelemetryMissing`."""
    if maker := wanted(settings):
        spans.trace_with(maker.exporting(service))


def wanted(settings: Settings) -> "type[OpenTelemetry] | None":
    """The tracer's class if the settings ask for traces. Raises `TelemetryMissing` if it is not installed."""
    if not settings.telemetry.traces:
        return None
    try:
        from anyseek.search.telemetry.opentelemetry_spans import OpenTelemetry
    except ImportError as error:
        raise TelemetryMissing(
            "ANYSEEK_TELEMETRY_TRACES is true, but OpenTelemetry is not installed; install anyseek[telemetry]"
        ) from error
    return OpenTelemetry
