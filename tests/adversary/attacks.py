"""The adversary's table: every attack by its name, and the tests that make it. docs/security.md has the same rows."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Attack:
    """`tests` are pytest's names below `tests/`: files, or files with a test."""

    name: str
    tests: tuple[str, ...]


_CONNECTIONS, _HOSTILE = "api/http/test_connections.py", "indexer/test_hostile_inputs.py"

ATTACKS = (
    Attack(
        "slow headers",
        (
            f"{_CONNECTIONS}::test_headers_that_drip_are_cut_off",
            f"{_CONNECTIONS}::test_a_connection_that_says_nothing_is_closed",
        ),
    ),
    Attack(
        "slow bodies",
        (
            f"{_CONNECTIONS}::test_a_body_that_drips_is_cut_off",
            f"{_CONNECTIONS}::test_a_client_that_does_not_read_is_cut_off",
        ),
    ),
    Attack(
        "many connections",
        (
            f"{_CONNECTIONS}::test_silent_connections_make_room_for_those_that_ask",
            f"{_CONNECTIONS}::test_a_service_with_few_descriptors_goes_on_and_says_little",
        ),
    ),
    Attack(
        "pictures that are bombs",
        ("adversary/test_bombs.py", "api/test_limits.py", "model/modalities/reading/test_jpeg_scans.py"),
    ),
    Attack("huge and deep JSON", ("adversary/test_json.py", "model/test_json_reader.py", "api/test_limits.py")),
    Attack("halves of surrogate pairs, numbers from 2^63", ("api/test_hostile_values.py", "api/http/test_problems.py")),
    Attack(
        "paths out of the roots",
        (
            "api/routes/test_jobs.py",
            "indexer/test_sources.py",
            "adversary/test_paths.py",
        ),
    ),
    Attack(
        "requests to inner addresses (SSRF)",
        ("indexer/test_web.py", f"{_HOSTILE}::test_a_redirect_to_what_is_no_address"),
    ),
    Attack(
        "rebinding, and pages of other sites",
        (
            "api/http/test_security.py::test_a_rebound_name_is_refused_without_keys",
            "api/http/test_security.py::test_pages_of_other_sites_are_refused",
        ),
    ),
    Attack(
        "originals that are replaced, links in assets",
        ("search/assets/test_files.py", "api/routes/test_originals.py"),
    ),
    Attack(
        "hostile archives",
        (
            "indexer/test_tar.py",
            f"{_HOSTILE}::test_a_member_of_an_archive_with_nul_in_its_name",
            "search/backup/test_backup.py::test_a_flipped_byte_is_refused_or_stands_where_nothing_is",
            "adversary/test_backups.py",
        ),
    ),
    Attack("inputs that block or never end", (_HOSTILE,)),
    Attack(
        "keys that are revoked, expired or guessed",
        ("api/http/test_security.py", "api/http/test_rates.py"),
    ),
    Attack("a key that asks too much", ("api/http/test_rates.py",)),
    Attack("a key that stores too much", ("contracts/test_quotas.py", "api/routes/test_quotas.py")),
    Attack("a full or locked disk and database", ("api/test_unwritable_disk.py", "api/test_locked_database.py")),
    Attack("flipped bytes", ("search/test_damage.py", "contracts/test_derived.py")),
    Attack("costly filters", ("adversary/test_filters.py", "contracts/test_interruption.py")),
    Attack("work that outlives a stop", ("adversary/test_stopping.py",)),
    Attack("small tables of many rows", ("adversary/test_tables.py",)),
    Attack("a collection deleted while it is indexed", ("adversary/test_deleted_while_indexed.py",)),
    Attack("a catalogue of a newer version", ("adversary/test_newer_catalogue.py",)),
    Attack("a data directory whose name reads as an address", ("adversary/test_homes.py",)),
    Attack(
        "a proxy that makes everybody local, made-up addresses",
        ("adversary/test_proxies.py", "api/http/test_rates.py"),
    ),
    Attack("paths told to who may only read", ("adversary/test_disclosure.py",)),
    Attack("names that steer a terminal, or stand for another file", ("adversary/test_terminals.py",)),
    Attack(
        "costly groups and maps asked again and again",
        ("search/test_result_cache.py", "search/test_duplicates.py", "search/test_maps.py"),
    ),
)
