"""Whether this process is traced, as the settings say: the optional library is imported only if they ask for it."""

from typing import TYPE_CHECKING

from anyseek.search import spans
from anyseek.search.errors import BadInput
from anyseek.search.settings import Settings

if TYPE_CHECKING:
    from anyseek.search.opentelemetry_spans import OpenTelemetry


class TelemetryMissing(BadInput):
    code = "telemetry-missing"


def start(settings: Settings, service: str) -> None:
    """Have this process traced if the settings say so; call it after forks. Raises `TelemetryMissing`."""
    if maker := wanted(settings):
        spans.trace_with(maker.exporting(service))


def wanted(settings: Settings) -> "type[OpenTelemetry] | None":
    """What traces, if the settings ask for it. Raises `TelemetryMissing` if it is not installed."""
    if not settings.telemetry.traces:
        return None
    try:
        from anyseek.search.opentelemetry_spans import OpenTelemetry
    except ImportError as error:
        raise TelemetryMissing(
            "ANYSEEK_TELEMETRY_TRACES is true, but OpenTelemetry is not installed; install anyseek[telemetry]"
        ) from error
    return OpenTelemetry
