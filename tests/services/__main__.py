"""Start or stop real servers for the tests: `python -m tests.services start|stop FOLDER`.

`start` leaves them running and writes their addresses to FOLDER/environment, one NAME=value a line.
"""

import sys
from pathlib import Path

from tests.services.servers import Postgres, Rabbit, Redis, Server, ServerFailed

SERVERS: dict[str, type[Server]] = {
    "ANYSEEK_TEST_POSTGRES": Postgres,
    "ANYSEEK_TEST_REDIS": Redis,
    "ANYSEEK_TEST_RABBITMQ": Rabbit,
}


def main(verb: str, folder: Path) -> int:
    servers = {variable: kind(folder / kind.__name__.lower()) for variable, kind in SERVERS.items()}
    for server in servers.values():
        server.stop()
    if verb == "stop":
        (folder / "environment").unlink(missing_ok=True)
        return 0
    try:
        for server in servers.values():
            server.start()
    except ServerFailed as error:
        main("stop", folder)
        sys.stderr.write(f"{error}\n")
        return 1
    addresses = "".join(f"{variable}={server.url}\n" for variable, server in servers.items())
    (folder / "environment").write_text(addresses)
    sys.stdout.write(addresses)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]).absolute()))
