"""From Parquet to a picture: when taxis are taken, by day of the week and hour.

    cmpirun python taxi.py [FILE.parquet...]

The files have the columns of New York's "yellow taxi trip records". Without files it makes trips up, always
the same ones. The picture is taxi.png if matplotlib is installed, and otherwise taxi.svg.
"""

import pathlib
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet

from cmpi import data

DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
TIME, MILES, DOLLARS = "tpep_pickup_datetime", "trip_distance", "total_amount"


def make_trips(folder, months=3, trips=100_000):
    """Write a file of trips for each month: many when people go to work, return, or go out at weekends."""
    chance = np.random.default_rng(7)
    hours = np.arange(7 * 24)
    day, hour = hours // 24, hours % 24
    busy = 1 + 3 * np.exp(-((hour - 18) ** 2) / 8) + (day < 5) * 2 * np.exp(-((hour - 8) ** 2) / 4)
    busy += (day >= 5) * 3 * np.exp(-((hour - 1) ** 2) / 6) - 0.8 * np.exp(-((hour - 4) ** 2) / 3)
    for month in range(1, months + 1):
        of_week = chance.choice(hours, trips, p=busy / busy.sum())
        minutes = (chance.integers(0, 4, trips) * 168 + of_week) * 60 + chance.integers(0, 60, trips)
        first = np.datetime64(f"2024-{month:02}-01", "D")
        monday = first + (7 - (first.astype(int) + 3) % 7) % 7
        miles = np.round(chance.exponential(2.5, trips), 2)
        times = (monday.astype("M8[m]") + minutes).astype("M8[us]")
        table = pa.table({TIME: times, MILES: miles, DOLLARS: np.round(4 + 3.5 * miles, 2)})
        into = pathlib.Path(folder, f"month={month}")
        into.mkdir()
        parquet.write_table(table, into / "trips.parquet", row_group_size=20_000)


def by_hour(trips):
    """When each trip of a table began, and what it cost."""
    return pa.table(
        {"day": pc.day_of_week(trips[TIME]), "hour": pc.hour(trips[TIME]), "dollars": trips[DOLLARS]}
    )


def draw(counts):
    """Save a picture of a matrix of numbers, a row for each day; return the file's name."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return draw_svg(counts)
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(counts, aspect="auto", cmap="magma")
    axes.set(title="Taxi trips", xlabel="hour", yticks=range(7), yticklabels=DAYS)
    figure.colorbar(image, label="trips")
    figure.savefig("taxi.png", dpi=120)
    return "taxi.png"


def draw_svg(counts):
    """The same without a library."""
    squares = []
    for (day, hour), n in np.ndenumerate(counts):
        light = int(90 * n / counts.max())
        squares.append(
            f'<rect x="{40 + 20 * hour}" y="{20 * day}" width="20" height="20" fill="hsl(25,90%,{light}%)">'
            f"<title>{DAYS[day]} {hour}:00, {n} trips</title></rect>"
        )
    names = [f'<text x="4" y="{20 * i + 15}" font-size="12">{day}</text>' for i, day in enumerate(DAYS)]
    picture = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 140">{}</svg>\n'
    pathlib.Path("taxi.svg").write_text(picture.format("\n".join(squares + names)))
    return "taxi.svg"


def show(paths):
    """Print the busiest hours, and draw all of them."""
    trips = data.parquet(paths, columns=[TIME, MILES, DOLLARS]).filter(data.col(MILES) > 0)
    sinks = data.fork(data.count(), data.mean("dollars"))
    groups = trips.map_batches(by_hour).group_by(("day", "hour"), into=sinks).collect(dict)
    counts = np.zeros((7, 24), int)
    for (day, hour), (n, _) in groups.items():
        counts[day, hour] = n
    print(f"{counts.sum()} trips")
    for (day, hour), (n, dollars) in sorted(groups.items(), key=lambda group: -group[1][0])[:3]:
        print(f"{DAYS[day]} {hour:2}:00 {n:6} trips, {dollars:.2f} dollars each")
    print(f"see {draw(counts)}")


if sys.argv[1:]:
    show(sys.argv[1:])
else:
    with tempfile.TemporaryDirectory() as folder:
        make_trips(folder)
        show(folder)
