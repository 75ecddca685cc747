"""A few tests, one of them slow."""

import hashlib
import json


def price(order: dict[str, int]) -> int:
    return sum(order.values())


def encrypt(rounds: int) -> bytes:
    digest = b""
    for _ in range(rounds):
        digest = hashlib.sha256(digest).digest()
    return digest


def test_price() -> None:
    assert price({"tea": 3, "milk": 2}) == 5


def test_round_trip() -> None:
    orders = [{"tea": number, "milk": number + 1} for number in range(100_000)]
    assert json.loads(json.dumps(orders)) == orders


def test_encrypt() -> None:
    assert encrypt(4_000_000)
