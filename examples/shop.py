"""A small shop's back office, for trying a profiler on: it handles orders until told to stop.

    python shop.py --seconds 30

Like a real service it does several things at once and most of its threads wait: three workers take
orders from a queue and parse, price and render them; one thread packs the invoices, one keeps the
books in a database, one recounts the catalogue tree; an event loop keeps an eye on suppliers; one
thread waits for a lock that is never free. About one core is busy. Standard library only, and the
same orders in every run. Runs on CPython 3.8 and later.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import queue
import random
import re
import sqlite3
import string
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

WORKERS = 3
DOZEN = 12
ORDERS_PER_DAY = 600
CATALOGUE_DEPTH = 11
CHILDREN_PER_CATEGORY = 2

_LINE = re.compile(r"(?P<count>\d+)\s*x\s*(?P<sku>[A-Z]{2}-\d{4})(?:\s*@\s*(?P<coupon>\w+))?")
_COUPONS = {"SPRING": 0.9, "STAFF": 0.7, "BULK": 0.8}

_INVOICE = string.Template(
    "<article><h1>Order $number</h1><p>$customer</p><table>$rows</table><b>$total</b></article>"
)
_ROW = string.Template("<tr><td>$sku</td><td>$count</td><td>$price</td></tr>")


@dataclass
class Category:
    """A node of the catalogue tree."""

    name: str
    stock: int
    children: list[Category] = field(default_factory=list)

    def total_stock(self) -> int:
        return self.stock + sum(child.total_stock() for child in self.children)


@dataclass(frozen=True)
class OrderLine:
    sku: str
    count: int
    price: float


class Ledger:
    """Prices and sales, in a database in memory that one thread at a time uses."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self._connection.create_function("discounted", 2, discounted)
        self._connection.execute("CREATE TABLE item (sku TEXT PRIMARY KEY, price REAL)")
        self._connection.execute("CREATE TABLE sale (sku TEXT, total REAL)")
        self._connection.executemany(
            "INSERT INTO item VALUES (?, ?)",
            [(sku(number), 1 + number * 37 % 500 / 10) for number in range(2000)],
        )

    def close(self) -> None:
        self._connection.close()

    def prices(self) -> dict[str, float]:
        return dict(self._connection.execute("SELECT sku, price FROM item"))

    def book(self, lines: list[OrderLine]) -> None:
        rows = ", ".join(["(?, ?)"] * len(lines))
        values = [value for line in lines for value in (line.sku, line.price)]
        self._connection.execute(f"INSERT INTO sale VALUES {rows}", values)

    def best_sellers(self) -> list[tuple[str, float]]:
        best = "SELECT sku, sum(total) AS total FROM sale GROUP BY sku ORDER BY total DESC LIMIT 10"
        query = f"SELECT sku, discounted(total, 'BULK') FROM ({best})"
        rows = self._connection.execute(query).fetchall()
        self._connection.execute(
            "DELETE FROM sale WHERE rowid < (SELECT max(rowid) FROM sale) - 5000"
        )
        return sorted(rows, key=revenue, reverse=True)


def discounted(price: float, coupon: str | None) -> float:
    """Also called by the database, for every row of the best sellers."""
    return price * _COUPONS.get(coupon or "", 1.0)


def revenue(row: tuple[str, float]) -> float:
    return row[1]


def sku(number: int) -> str:
    return f"{'ABCDEFGH'[number % 8]}{'KLMN'[number % 4]}-{number:04d}"


class Shop:
    """Everything, and the threads that run it."""

    def __init__(self) -> None:
        self.closing = threading.Event()
        self.ledger = Ledger()
        self.prices = self.ledger.prices()
        self.catalogue = grow_catalogue("all", CATALOGUE_DEPTH)
        self.orders: queue.Queue[list[str] | None] = queue.Queue(maxsize=16)
        self.invoices: queue.Queue[list[str] | None] = queue.Queue(maxsize=64)
        self.sold: queue.Queue[list[OrderLine] | None] = queue.Queue(maxsize=64)
        self.handled = 0

    def run(self, seconds: float | None) -> None:
        started = time.monotonic()
        never_free = threading.Lock()
        never_free.acquire()
        threads = [
            threading.Thread(target=self.pack_invoices, name="packer"),
            threading.Thread(target=self.keep_books, name="books"),
            threading.Thread(target=self.recount_stock, name="stock"),
            threading.Thread(target=asyncio.run, args=(self.watch_suppliers(),), name="suppliers"),
            threading.Thread(target=wait_for_turn, args=(never_free,), name="patient"),
        ]
        for thread in threads:
            thread.start()
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="worker") as pool:
            for _ in range(WORKERS):
                pool.submit(self.serve)
            try:
                self.receive_orders(started, seconds)
            except KeyboardInterrupt:
                pass
            finally:
                self.closing.set()
                never_free.release()
                for _ in range(WORKERS):
                    self.orders.put(None)
        self.invoices.put(None)
        self.sold.put(None)
        for thread in threads:
            thread.join()
        self.ledger.close()

    def receive_orders(self, started: float, seconds: float | None) -> None:
        """The main thread: the same day's orders over and over, as fast as they are handled."""
        day = one_day_of_orders(random.Random(1))
        while seconds is None or time.monotonic() - started < seconds:
            for first in range(0, len(day), DOZEN):
                self.orders.put(day[first : first + DOZEN])

    def serve(self) -> None:
        """One worker."""
        while (texts := self.orders.get()) is not None:
            invoices: list[str] = []
            sold: list[OrderLine] = []
            for text in texts:
                order = json.loads(text)
                lines = self.handle_order(order)
                sold.extend(lines)
                invoices.append(render_invoice(order, lines))
            self.handled += len(texts)
            self.invoices.put(invoices)
            self.sold.put(sold)

    def handle_order(self, order: dict[str, Any]) -> list[OrderLine]:
        parsed = valid_lines(parse_lines(split_lines(order["lines"])))
        return price_lines(parsed, self.prices)

    def pack_invoices(self) -> None:
        while (rendered := self.invoices.get()) is not None:
            compress("".join(rendered))

    def keep_books(self) -> None:
        booked = 0
        while (sold := self.sold.get()) is not None:
            self.ledger.book(sold)
            booked += 1
            if booked % 100 == 0:
                self.ledger.best_sellers()

    def recount_stock(self) -> None:
        while not self.closing.wait(0.05):
            self.catalogue.total_stock()

    async def watch_suppliers(self) -> None:
        """The event loop: some coroutines that wait, and now and then one that works."""
        suppliers = [self.ask_supplier(number, 0.05 + 0.03 * number) for number in range(5)]
        await asyncio.gather(*suppliers)

    async def ask_supplier(self, number: int, pause: float) -> None:
        while not self.closing.is_set():
            answer = await supplier_answer(number, pause)
            rank_offers(answer)


async def supplier_answer(number: int, pause: float) -> list[float]:
    await asyncio.sleep(pause)
    return [(number * 7919 + offer * 104729) % 1009 / 10 for offer in range(2000)]


def rank_offers(offers: list[float]) -> list[float]:
    return sorted(offers, key=lambda offer: (offer % 7, -offer))


def grow_catalogue(name: str, depth: int) -> Category:
    children = [
        grow_catalogue(f"{name}/{number}", depth - 1)
        for number in range(CHILDREN_PER_CATEGORY if depth else 0)
    ]
    return Category(name, len(name) * 3, children)


def one_day_of_orders(chance: random.Random) -> list[str]:
    return [
        json.dumps(
            {
                "number": number,
                "customer": f"Zoë №{number % 97}",
                "lines": "\n".join(order_line(chance) for _ in range(chance.randint(3, 12))),
            }
        )
        for number in range(ORDERS_PER_DAY)
    ]


def order_line(chance: random.Random) -> str:
    coupon = chance.choice(["", "", " @ SPRING", " @ BULK"])
    return f"{chance.randint(1, 9)} x {sku(chance.randrange(2000))}{coupon}"


def split_lines(text: str) -> Iterator[str]:
    """The first of three generators that feed each other."""
    for line in text.splitlines():
        yield line.strip()


def parse_lines(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        match = _LINE.fullmatch(line)
        if match:
            yield match.groupdict()


def valid_lines(parsed: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for line in parsed:
        if is_valid_sku(line["sku"]) and 0 < int(line["count"]) < 1000:
            yield line


def is_valid_sku(text: str) -> bool:
    """The two letters are a check of the number."""
    return text == sku(int(text[3:]))


def price_lines(parsed: Iterable[dict[str, Any]], prices: dict[str, float]) -> list[OrderLine]:
    return [price_line(line, prices[line["sku"]]) for line in parsed]


def price_line(line: dict[str, Any], price: float) -> OrderLine:
    return OrderLine(line["sku"], int(line["count"]), discounted(price, line["coupon"]))


def render_invoice(order: dict[str, Any], lines: list[OrderLine]) -> str:
    cheapest_first = sorted(lines, key=lambda line: line.price * line.count)
    rows = "".join(render_row(line) for line in cheapest_first)
    total = sum(line.price * line.count for line in lines)
    return _INVOICE.substitute(
        number=order["number"], customer=order["customer"], rows=rows, total=f"{total:.2f}"
    )


def render_row(line: OrderLine) -> str:
    return _ROW.substitute(sku=line.sku, count=line.count, price=f"{line.price:.2f}")


def compress(text: str) -> bytes:
    return gzip.compress(text.encode(), compresslevel=1)


def wait_for_turn(lock: threading.Lock) -> None:
    with lock:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, help="how long to run; default: until Ctrl-C")
    # Else the threads that pack and book, which often leave Python, would wait most of their time.
    sys.setswitchinterval(0.0003)
    shop = Shop()
    shop.run(parser.parse_args().seconds)
    print(f"{shop.handled} orders handled")


if __name__ == "__main__":
    main()
