"""TPC-H's queries 1, 3, 5, 6, 9 and 18 on `cmpi.data`, and a seeded generator of its tables.

The columns are those that the queries need. As a program, it runs some queries on the pool of its job:

    cmpirun python tests/data/tpch.py FOLDER 3 6
"""

import datetime
import sys

import numpy as np
import pytest

from cmpi import data
from cmpi.data import col

pa = pytest.importorskip("pyarrow")
pc = pytest.importorskip("pyarrow.compute")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = {"customer": 600, "orders": 6000, "part": 400, "supplier": 40}
FIRST_DAY = (datetime.date(1992, 1, 1) - datetime.date(1970, 1, 1)).days
SEGMENTS = ["AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"]
COLOURS = ["almond", "blue", "coral", "forest", "green", "ivory", "lemon", "navy", "plum", "rose"]
REGIONS = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"]
LARGE = 250  # of query 18, lower than TPC-H's because there are few orders


def generate(folder, seed=1):
    """Write each table as a Parquet file in a folder of its own."""
    chance = np.random.default_rng(seed)

    def pick(words, n):
        return pa.array(words).take(pa.array(chance.integers(0, len(words), n)))

    def money(low, high, n):
        return np.round(chance.uniform(low, high, n), 2)

    def days(numbers):
        return pa.array(numbers.astype("int32") + FIRST_DAY).cast("date32")

    def write(name, **columns):
        (folder / name).mkdir()
        table = pa.table(columns)
        parquet.write_table(table, folder / name / "0.parquet", row_group_size=max(1, len(table) // 5))

    customers, orders, parts, suppliers = ROWS.values()
    write("region", r_regionkey=range(5), r_name=REGIONS)
    nations = [f"NATION {i:02}" for i in range(25)]
    write("nation", n_nationkey=range(25), n_name=nations, n_regionkey=[i % 5 for i in range(25)])
    write("supplier", s_suppkey=range(suppliers), s_nationkey=chance.integers(0, 25, suppliers))
    write(
        "customer",
        c_custkey=range(customers),
        c_name=[f"Customer#{i:09}" for i in range(customers)],
        c_nationkey=chance.integers(0, 25, customers),
        c_mktsegment=pick(SEGMENTS, customers),
    )
    names = pc.binary_join_element_wise(pick(COLOURS, parts), pick(COLOURS, parts), " ")
    write("part", p_partkey=range(parts), p_name=names)
    offers = np.repeat(np.arange(parts), 4)
    offered_by = (offers + np.tile(np.arange(4), parts) * (suppliers // 4 + 1)) % suppliers
    write(
        "partsupp",
        ps_partkey=offers,
        ps_suppkey=offered_by,
        ps_supplycost=money(1, 1000, len(offers)),
    )
    ordered = chance.integers(0, 2406, orders)
    write(
        "orders",
        o_orderkey=range(orders),
        o_custkey=chance.integers(0, customers, orders),
        o_orderdate=days(ordered),
        o_shippriority=pa.array(np.zeros(orders, "int32")),
        o_totalprice=money(1000, 400_000, orders),
    )
    of_order = np.repeat(np.arange(orders), chance.integers(1, 8, orders))
    n = len(of_order)
    offer = chance.integers(0, len(offers), n)
    shipped = ordered[of_order] + chance.integers(1, 122, n)
    write(
        "lineitem",
        l_orderkey=of_order,
        l_partkey=offers[offer],
        l_suppkey=offered_by[offer],
        l_quantity=chance.integers(1, 51, n).astype(float),
        l_extendedprice=money(900, 105_000, n),
        l_discount=chance.integers(0, 11, n) / 100,
        l_tax=chance.integers(0, 9, n) / 100,
        l_returnflag=pick(["A", "N", "R"], n),
        l_linestatus=pick(["F", "O"], n),
        l_shipdate=days(shipped),
    )


class Tables:
    """Streams of the tables in a folder."""

    def __init__(self, folder, **options):
        self._folder, self._options = folder, options

    def __getattr__(self, name):
        stream = data.parquet(f"{self._folder}/{name}", split_bytes="64 KiB")
        return stream.options(**self._options)


def with_revenue(table):
    """The table with a column for the price after the discount."""
    return table.append_column(
        "revenue", pc.multiply(table["l_extendedprice"], pc.subtract(1.0, table["l_discount"]))
    )


def query_1(t):
    def with_charge(table):
        table = with_revenue(table)
        return table.append_column("charge", pc.multiply(table["revenue"], pc.add(1.0, table["l_tax"])))

    sums = [data.sum(each) for each in ("l_quantity", "l_extendedprice", "revenue", "charge")]
    means = [data.mean(each) for each in ("l_quantity", "l_extendedprice", "l_discount")]
    groups = (
        t.lineitem.filter(col("l_shipdate") <= datetime.date(1998, 9, 2))
        .map_batches(with_charge)
        .group_by(("l_returnflag", "l_linestatus"), into=data.fork(*sums, *means, data.count()))
    )
    return [(*key, *values) for key, values in groups.sort(0)]


def query_3(t):
    day = datetime.date(1995, 3, 15)
    customers = t.customer.filter(col("c_mktsegment") == "BUILDING").select("c_custkey")
    orders = t.orders.filter(col("o_orderdate") < day).inner_join(customers, on={"o_custkey": "c_custkey"})
    lines = t.lineitem.filter(col("l_shipdate") > day).map_batches(with_revenue)
    groups = lines.inner_join(orders, on={"l_orderkey": "o_orderkey"}).group_by(
        ("l_orderkey", "o_orderdate", "o_shippriority"), into=data.sum("revenue")
    )
    top = groups.sort_n_by(10, key=lambda group: (-group[1], group[0][1]), largest=False)
    return [(key[0], revenue, *key[1:]) for key, revenue in top]


def query_5(t):
    asia = t.region.filter(col("r_name") == "ASIA")
    nations = t.nation.inner_join(asia, on={"n_regionkey": "r_regionkey"})
    suppliers = t.supplier.inner_join(nations, on={"s_nationkey": "n_nationkey"})
    in_1994 = (col("o_orderdate") >= datetime.date(1994, 1, 1)) & (
        col("o_orderdate") < datetime.date(1995, 1, 1)
    )
    orders = t.orders.filter(in_1994).inner_join(t.customer, on={"o_custkey": "c_custkey"})
    return (
        t.lineitem.map_batches(with_revenue)
        .inner_join(orders, on={"l_orderkey": "o_orderkey"})
        .inner_join(suppliers, on={"l_suppkey": "s_suppkey", "c_nationkey": "s_nationkey"})
        .group_by("n_name", into=data.sum("revenue"))
        .sort(1, reverse=True)
        .collect()
    )


def query_6(t):
    return [
        (
            t.lineitem.filter(col("l_shipdate") >= datetime.date(1994, 1, 1))
            .filter(col("l_shipdate") < datetime.date(1995, 1, 1))
            .filter((col("l_discount") >= 0.05) & (col("l_discount") <= 0.07) & (col("l_quantity") < 24))
            .map_batches(lambda b: pa.table({"of": pc.multiply(b["l_extendedprice"], b["l_discount"])}))
            .sum("of"),
        )
    ]


def query_9(t):
    def with_profit(table):
        cost = pc.multiply(table["ps_supplycost"], table["l_quantity"])
        table = with_revenue(table).append_column("year", pc.year(table["o_orderdate"]))
        return table.append_column("profit", pc.subtract(table["revenue"], cost))

    green = t.part.map_batches(lambda table: table.filter(pc.match_substring(table["p_name"], "green")))
    suppliers = t.supplier.inner_join(t.nation, on={"s_nationkey": "n_nationkey"})
    return [
        (nation, year, profit)
        for (nation, year), profit in t.lineitem.inner_join(green, on={"l_partkey": "p_partkey"})
        .inner_join(t.partsupp, on={"l_partkey": "ps_partkey", "l_suppkey": "ps_suppkey"})
        .inner_join(t.orders, on={"l_orderkey": "o_orderkey"})
        .inner_join(suppliers, on={"l_suppkey": "s_suppkey"})
        .map_batches(with_profit)
        .group_by(("n_name", "year"), into=data.sum("profit"))
        .sort(lambda group: (group[0][0], -group[0][1]))
    ]


def query_18(t):
    large = (
        t.lineitem.group_by("l_orderkey", into=data.sum("l_quantity"))
        .filter(lambda group: group[1] > LARGE)
        .map(lambda group: {"o_orderkey": group[0], "quantity": group[1]})
    )
    orders = t.orders.inner_join(large, on="o_orderkey").inner_join(
        t.customer, on={"o_custkey": "c_custkey"}
    )
    columns = ("c_name", "o_custkey", "o_orderkey", "o_orderdate", "o_totalprice", "quantity")
    top = orders.select(*columns).sort_n_by(
        100, key=lambda o: (-o.o_totalprice, o.o_orderdate), largest=False
    )
    return [tuple(order) for order in top]


QUERIES = {1: query_1, 3: query_3, 5: query_5, 6: query_6, 9: query_9, 18: query_18}

SQL = {
    1: """
        select l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice),
            sum(l_extendedprice * (1 - l_discount)) as revenue,
            sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) as charge,
            avg(l_quantity) as a, avg(l_extendedprice) as b, avg(l_discount) as c, count(*) as n
        from lineitem where l_shipdate <= date '1998-09-02'
        group by l_returnflag, l_linestatus order by l_returnflag, l_linestatus""",
    3: """
        select l_orderkey, sum(l_extendedprice * (1 - l_discount)) as revenue, o_orderdate, o_shippriority
        from customer join orders on c_custkey = o_custkey join lineitem on o_orderkey = l_orderkey
        where c_mktsegment = 'BUILDING' and o_orderdate < date '1995-03-15'
            and l_shipdate > date '1995-03-15'
        group by l_orderkey, o_orderdate, o_shippriority order by revenue desc, o_orderdate limit 10""",
    5: """
        select n_name, sum(l_extendedprice * (1 - l_discount)) as revenue
        from customer join orders on c_custkey = o_custkey join lineitem on o_orderkey = l_orderkey
            join supplier on l_suppkey = s_suppkey and c_nationkey = s_nationkey
            join nation on s_nationkey = n_nationkey join region on n_regionkey = r_regionkey
        where r_name = 'ASIA' and o_orderdate >= date '1994-01-01' and o_orderdate < date '1995-01-01'
        group by n_name order by revenue desc""",
    6: """
        select sum(l_extendedprice * l_discount) as revenue from lineitem
        where l_shipdate >= date '1994-01-01' and l_shipdate < date '1995-01-01'
            and l_discount >= 0.05 and l_discount <= 0.07 and l_quantity < 24""",
    9: """
        select n_name, extract(year from o_orderdate) as o_year,
            sum(l_extendedprice * (1 - l_discount) - ps_supplycost * l_quantity) as profit
        from lineitem join part on l_partkey = p_partkey
            join partsupp on l_partkey = ps_partkey and l_suppkey = ps_suppkey
            join orders on l_orderkey = o_orderkey join supplier on l_suppkey = s_suppkey
            join nation on s_nationkey = n_nationkey
        where p_name like '%green%' group by n_name, o_year order by n_name, o_year desc""",
    18: f"""
        select c_name, o_custkey, o_orderkey, o_orderdate, o_totalprice, sum(l_quantity) as quantity
        from customer join orders on c_custkey = o_custkey join lineitem on o_orderkey = l_orderkey
        group by c_name, o_custkey, o_orderkey, o_orderdate, o_totalprice having sum(l_quantity) > {LARGE}
        order by o_totalprice desc, o_orderdate limit 100""",
}

if __name__ == "__main__":
    for number in map(int, sys.argv[2:]):
        for row in QUERIES[number](Tables(sys.argv[1])):
            print(repr(tuple(row)))
