"""The connection of a `Client` to a service, or to the application in this process."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx

from anyseek.api.client.calls import NOT_READY, Call, is_address, no_body, service_options, translate_errors
from anyseek.api.errors import ApiError

T = TypeVar("T")

POLL_SECONDS = 0.1


class Connection:
    """The transport of `Client`, its base class: sends calls and closes connections."""

    def __init__(
        self,
        location: str | Path | None = None,
        key: str | None = None,
        timeout: float = 120.0,
        patience: float = 0.0,
        *,
        model: str | None = None,
    ) -> None:
        self._patience = patience
        if is_address(location):
            self.url = str(location).rstrip("/")
            self._http = httpx.Client(**service_options(self.url, key, timeout))
        else:
            from anyseek.api.client.in_process import InProcess  # imports the service

            transport = InProcess(None if location is None else Path(location), model)
            self.url = str(transport.home)
            self._http = httpx.Client(transport=transport, base_url="http://in-process")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, and the data directory if it is open in this process, as leaving `with` does."""
        self._http.close()

    def wait_until_ready(self, seconds: float) -> None:
        """Wait until the model is loaded. Raises `ApiError` if it cannot be loaded, or not within `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self._send_once(Call("GET", "/readyz", no_body))
            except ApiError as error:
                if error.code != NOT_READY or time.monotonic() > deadline:
                    raise
            time.sleep(POLL_SECONDS)

    def _send(self, call: Call[T]) -> T:
        try:
            return self._send_once(call)
        except ApiError as error:
            if error.code != NOT_READY or not self._patience:
                raise
        self.wait_until_ready(self._patience)
        return self._send_once(call)

    def _send_once(self, call: Call[T]) -> T:
        with translate_errors(self.url):
            response = self._http.request(call.method, call.path, **call.options)
        return call.answer(response)
