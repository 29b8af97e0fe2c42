"""A program as users write it, checked by `mypy --strict` against the wheel alone."""

import asyncio
import sys
from typing import assert_type

import anyseek

HOME = sys.argv[1]


def told(client: anyseek.Client, collection: str) -> list[str]:
    away = anyseek.Part("caption", text="blue", weight=-0.5)
    results = client.query(collection, ["a red disc", away], k=2, where={"field": "year", "gte": 2000})
    assert_type(results, anyseek.Results)
    return [f"{hit.rank} {hit.key}" for hit in results.hits]


async def counted(collection: str) -> int:
    async with anyseek.AsyncClient(HOME, model="hashing") as client:
        assert_type(await client.collection(collection), anyseek.Collection)
        return len([item.key async for item in client.items(collection)])


with anyseek.connect(HOME, model="hashing") as client:
    client.create_collection("words")
    for year, colour in [(1987, "red"), (2024, "blue"), (2025, "red")]:
        item = client.put_item("words", f"{colour} {year}", caption=f"a {colour} disc", attributes={"year": year})
        assert_type(item, anyseek.Item)
    sys.stdout.write("\n".join([*told(client, "words"), str(asyncio.run(counted("words")))]))
    try:
        client.query("words", "a disc", wher="year > 2000")  # type: ignore[call-arg]
    except TypeError:
        client.job(1) if client.jobs() else None
