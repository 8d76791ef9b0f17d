"""Write the shop's deliveries: what the shop system, the bank and the catalogue hand over each day.

The same seed and size give the same bytes. About one row in fifty is broken on purpose: see the README.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FIRST_DAY = datetime(2024, 3, 1, tzinfo=UTC)
COUNTRIES = ("AT", "CH", "DE", "FR", "IT", "NL")
SEGMENTS = ("new", "regular", "gold")
CATEGORIES = ("bread", "cheese", "fruit", "tea", "wine")
FIRST_NAMES = ("Ada", "Ben", "Cleo", "Dario", "Eva", "Finn", "Gita", "Hugo", "Ines", "Jan")
LAST_NAMES = ("Abel", "Blum", "Costa", "Dorn", "Egger", "Fabre", "Gallo", "Huber", "Ito", "Jansen")
PRODUCT_COUNT = 40

Row = dict[str, object]


def main() -> None:
    """Write the deliveries that the command line asks for."""
    parser = argparse.ArgumentParser(description="Write the shop's deliveries.")
    parser.add_argument("--delivery", type=int, action="append", help="1, 2, ...: default is the first two")
    parser.add_argument("--orders", type=int, default=5_000, help="orders in one delivery")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    options = parser.parse_args()
    for number in options.delivery or [1, 2]:
        write_delivery(number, out=options.out, order_count=options.orders, seed=options.seed)


def write_delivery(number: int, *, out: Path, order_count: int, seed: int) -> None:
    """Write one day's four files; customers who changed since come again, the catalogue replaces the one before."""
    draw = random.Random(f"{seed}-{number}")  # noqa: S311 - invented data, and the same each time
    day = FIRST_DAY + timedelta(days=number - 1)
    stem = f"{day:%Y-%m-%d}"
    prices = product_prices(number)
    customer_count = max(order_count // 10, 20)
    orders = list(draw_orders(draw, number, day, prices, customer_count=customer_count, order_count=order_count))
    write_csv(out / "orders" / f"{stem}.csv", orders)
    write_lines(out / "payments" / f"{stem}.ndjson.gz", draw_payments(draw, number, orders))
    write_lines(out / "customers" / f"{stem}.ndjson", draw_customers(draw, number, day, customer_count))
    write_products(out / "products" / "catalogue.parquet", prices)
    print(f"delivery {number}, {stem}: {order_count:,} orders")


def product_prices(number: int) -> list[Decimal]:
    """Give each product's price on a day: every seventh costs ten cents more each day; the last is broken, at zero."""
    prices = [Decimal(100 + 37 * product) / 100 for product in range(PRODUCT_COUNT)]
    prices = [price + (Decimal(number - 1) / 10 if place % 7 == 0 else 0) for place, price in enumerate(prices)]
    return [*prices[:-1], Decimal("0.00")]


def draw_orders(
    draw: random.Random, number: int, day: datetime, prices: list[Decimal], *, customer_count: int, order_count: int
) -> Iterator[Row]:
    """Draw a day's orders; from the second day on, one in fifty is from the day before and late."""
    for place in range(order_count):
        product = draw.randrange(PRODUCT_COUNT - 1)
        late = number > 1 and draw.random() < 0.02
        at = day + timedelta(seconds=draw.randrange(86_400)) - timedelta(days=1 if late else 0)
        row: Row = {
            "order_id": f"O{number:02}-{place:07}",
            "customer_id": f"C{draw.randrange(customer_count):06}",
            "product_id": f"P{product:03}",
            "quantity": draw.randint(1, 6),
            "unit_price": prices[product],
            "ordered_at": f"{at:%Y-%m-%d %H:%M:%S}",
            "status": draw.choices(("placed", "shipped", "cancelled"), (45, 48, 7))[0],
        }
        fault = draw.random()
        if fault < 0.004:
            row["quantity"] = -1
        elif fault < 0.006:
            row["quantity"] = "two"
        elif fault < 0.009:
            row["status"] = "lost"
        elif fault < 0.012:
            row["customer_id"] = "C999999"
        elif fault < 0.014:
            row["ordered_at"] = "yesterday"
        yield row


def draw_payments(draw: random.Random, number: int, orders: list[Row]) -> Iterator[Row]:
    """Draw the payments for a day's orders: most are paid at once, some in two parts, some not yet."""
    count = 0
    for order in orders:
        if not isinstance(order["quantity"], int) or order["quantity"] < 1 or order["ordered_at"] == "yesterday":
            continue
        total = Decimal(str(order["unit_price"])) * order["quantity"]
        half = (total / 2).quantize(Decimal("0.01"))
        parts = draw.choices(([total], [half, total - half], [half], []), (82, 6, 3, 9))[0]
        for part in parts if order["status"] != "cancelled" else []:
            method = draw.choice(("card", "card", "transfer", "wallet"))
            at = datetime.fromisoformat(str(order["ordered_at"])) + timedelta(minutes=draw.randrange(240))
            row: Row = {
                "payment_id": f"B{number:02}-{count:07}",
                "order_id": order["order_id"],
                "amount": str(part),
                "method": method,
                "card_last4": f"{draw.randrange(10_000):04}" if method == "card" else None,
                "paid_at": f"{at:%Y-%m-%dT%H:%M:%S}",
            }
            count += 1
            fault = draw.random()
            if fault < 0.004:
                row["amount"] = f"-{part}"
            elif fault < 0.006:
                row["amount"] = "n/a"
            elif fault < 0.009:
                row["method"] = "cheque"
            elif fault < 0.012:
                row["order_id"] = "O99-0000000"
            yield row


def draw_customers(draw: random.Random, number: int, day: datetime, count: int) -> Iterator[Row]:
    """Draw the customers that a delivery holds: all on the first day, then those who changed and a few new ones."""
    fresh = range(count, count + count // 50) if number > 1 else range(0)
    for place in [*range(count), *fresh]:
        if number > 1 and place < count and draw.random() > 0.08:
            continue
        first, last = FIRST_NAMES[place % 10], LAST_NAMES[place // 10 % 10]
        row: Row = {
            "customer_id": f"C{place:06}",
            "name": f"{first} {last}",
            "email": f"{first}.{last}.{place}@example.com".lower(),
            "country": COUNTRIES[place % len(COUNTRIES)],
            "segment": draw.choice(SEGMENTS),
            "updated_at": f"{day + timedelta(seconds=place % 3_600):%Y-%m-%dT%H:%M:%S}",
        }
        fault = draw.random()
        if fault < 0.01:
            row["email"] = "nobody"
        elif fault < 0.02:
            row["country"] = "XX"
        yield row


def write_csv(path: Path, rows: list[Row]) -> None:
    """Write rows as the shop system does: semicolons, decimal commas, UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), delimiter=";", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "unit_price": str(row["unit_price"]).replace(".", ",")} for row in rows)


def write_lines(path: Path, rows: Iterator[Row]) -> None:
    """Write rows as JSON, one a line; compressed where the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        # No time stamp inside: the same rows are the same bytes.
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) if path.suffix == ".gz" else file
        with io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in rows)


def write_products(path: Path, prices: list[Decimal]) -> None:
    """Write the whole catalogue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    categories = [CATEGORIES[place % len(CATEGORIES)] for place in range(PRODUCT_COUNT)]
    table = pa.table(
        {
            "product_id": [f"P{place:03}" for place in range(PRODUCT_COUNT)],
            "name": [f"{category} no. {place}" for place, category in enumerate(categories)],
            "category": categories,
            "price": pa.array(prices, pa.decimal128(10, 2)),
            "labels": [[category, "fresh"] if place % 2 else [category] for place, category in enumerate(categories)],
        }
    )
    pq.write_table(table, path)


if __name__ == "__main__":
    main()
