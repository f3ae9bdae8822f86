"""Make the shipped sample data and benchmark tables: synthetic clients of a company that does not exist.

Nothing here is real: no client, no figure, no reason for leaving. A client has the activity of the last
month and of the last year and a number of employees, and leaves with a probability that is logistic in
the three. There are two worlds, which differ in what makes clients leave:

practice
    Clients leave when their last month falls far behind their year. Size hardly matters.
production
    A fall matters half as much, and large clients leave. The season is quiet: last months are a fifth
    lower for everybody, which a model of the first world takes for leaving.

Every file follows from its seed alone. Only raw uniform numbers of PCG64 are drawn, the stream that numpy
keeps the same over versions; all else is computed from them here.

    python benchmarks/make_data.py sample . --further 2
    python benchmarks/make_data.py table /tmp/table --rows 5000000 --files 50 --duplicate-share 0.1
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HEADER = "corporation,lastmonth_activity,lastyear_activity,number_of_employees,exited"
SEED = 2026
MISSING_SHARE = 0.022
SAMPLE_ROWS = 3000
TEST_ROWS = 4000
TEST_NEW_SHARE = 0.3
SAMPLE_DUPLICATE_SHARE = 0.04
BLOCK = 100_000

STEMS = """
    Åkerlund Albatros Almeida Alpenglow Ambrosi Ångström Arbor Ardent Aster Aurora Azur Baltic Barca Bastion
    Beacon Bergström Birch Björk Bluestone Bouvier Brævik Breton Brightwater Cairn Calder Camões Castellan
    Cedar Čapek Cinder Clover Cobalt Corvus Crescent Damson Delacroix Delta Dōjima Drummond Dubrava Dvořák
    Eider Elbe Ember Érable Estuary Étoile Evergreen Falcon Fennel Ferrum Fjeld Flint Foxglove Frøya Galant
    Garnet Gdańska Glacier Granite Grünwald Gullfoss Halcyon Harrow Hazel Heliodor Heron Hibiscus Höfler
    Hollow Horizon Ibarra Indigo Ironwood Isère Jasper Juniper Jürgens Karst Kestrel Kobalt Kowalczyk Krüger
    Lantern Larch Lark Laurel Lindqvist Łoś Lumen Lyra Magnolia Malmö Marble Marigold Meridian Mistral
    Møller Monarch Moreau Morrow Muñoz Nimbus Nordlys Northgate Novák Nuñez Oakfield Obsidian Ocaña Olive
    Onyx Orchard Osprey Otter Øster Pampas Papillon Pelican Peregrine Petrel Pinnacle Poplar Prairie Quartz
    Quill Raven Redwood Ridgeway Rīga Rosário Rowan Saffron Sagitta Sável Schäfer Sequoia Sierra Silvan
    Škoula Söder Sorrel Spruce Starling Sterna Sühl Summit Swift Tamarind Tempest Thistle Thörn Tidewater
    Topaz Torrent Tundra Umbra Ursa Valverde Vänern Verbena Vesper Villanueva Voyager Walnut Weiß Willow
    Windermere Wren Yarrow Yıldız Zephyr Zielińska Ζέφυρος Волга
"""
TRADES = """
    Agriculture Analytics Apparel Architects Automation Bakeries Battery Bearings Biotech Books Brewing
    Broadcast Builders Cables Capital Carriers Ceramics Chemicals Clinics Cloud Coatings Coffee Components
    Consulting Courier Dairy Data Dental Design Diagnostics Drones Education Electric Energy Engineering
    Events Farms Finance Fisheries Fleet Foods Forestry Foundry Freight Furniture Games Gas Glass Grain
    Health Hosting Hotels Housing Hydro Imaging Instruments Insurance Interiors Irrigation Kitchens Labs
    Leather Legal Leasing Lighting Logistics Machines Marine Materials Media Metals Mills Mining Mobility
    Motors Networks Optics Outdoor Packaging Paper Parts Pharma Plastics Power Printing Pumps Rail Research
    Retail Robotics Salt Sawmill Security Seeds Semiconductors Shipping Software Solar Sports Steel Storage
    Studios Surveying Systems Telecom Textiles Timber Tools Toys Trading Transport Travel Tyres Valves
    Ventures Veterinary Vineyards Waste Water Wind Wool
"""
PLACES = """
    Aarhus Antwerp Austin Basel Bergen Bilbao Bordeaux Boston Brno Bruges Cádiz Cologne Cork Denver Derby
    Dublin Galway Gdynia Geneva Genoa Ghent Graz Halifax Hamburg Iași Kaunas Košice Kraków Leeds Leiden Lille
    Linz Lisbon Lyon Málaga Milan Nantes Oslo Oulu Porto Prague Reykjavík Rouen Split Tallinn Turin Turku
    Utrecht Vilnius Zürich
"""
FORMS = ", Inc.| AB| A/S| AG| B.V.| d.o.o.| GmbH| Group| Ltd| Oy| S.A.| Sp. z o.o."

FOLDERS = {
    "practicedata": (
        "Practice data",
        "clients of the practice world, who leave when their last month falls far behind their year. Use "
        "them to try the stages by hand",
    ),
    "sourcedata": (
        "Production data",
        "clients of the production world, which has drifted away from the practice one: a fall in activity "
        "matters half as much, large clients leave, and the season is quiet for everybody",
    ),
    "testdata": (
        "Test data",
        "clients that are in no other file, with labels: seven in ten from the practice world, three in ten "
        "from the production world. Every score is computed on them; a model of one world cannot be good at "
        "the clients of the other",
    ),
}
README = """# {title}

{files}: {text}.

**Synthetic.** No client, figure or reason for leaving is real. Scores on these data show that the pipeline \
works; they say nothing about any business. About 2 % of the feature cells are empty on purpose{duplicates}.

Columns: `corporation` (identifies the client, never a feature), `lastmonth_activity`, `lastyear_activity`, \
`number_of_employees`, `exited` (1 left, 0 stayed).

Made by `python benchmarks/make_data.py sample . --seed {seed}`; the same seed gives the same bytes.
"""


@dataclass(frozen=True)
class World:
    """How clients look and why they leave; weights are for standardised features."""

    season: float
    intercept: float
    lastmonth: float
    lastyear: float
    employees: float


PRACTICE = World(season=1.0, intercept=-1.6, lastmonth=-6.0, lastyear=5.0, employees=0.3)
PRODUCTION = World(season=0.8, intercept=-2.2, lastmonth=-3.0, lastyear=2.3, employees=2.4)


@dataclass(frozen=True)
class Clients:
    """Columns of rows; a feature of -1 is a missing cell. `number` is what the name is made of."""

    number: np.ndarray
    features: np.ndarray
    exited: np.ndarray

    def take(self, rows: np.ndarray | slice) -> Clients:
        return Clients(self.number[rows], self.features[:, rows], self.exited[rows])


def draw_clients(world: World, n: int, *, seed: Sequence[int], first: int) -> Clients:
    """Draw `n` clients of a world, named by the numbers from `first` on."""
    u = np.random.Generator(np.random.PCG64([*seed])).random((11, n))
    u[:7] = 1 - u[:7]  # (0, 1], for the logarithms
    lastyear = 60 - 400 * np.log(u[0] * u[1] * u[2])
    pace = 0.35 + 0.65 * (u[7] + u[3])
    lastmonth = lastyear / 12 * pace * world.season
    employees = 8 - 90 * np.log(u[4] * u[5])
    logit = (
        world.intercept
        + world.lastmonth * (lastmonth - 100) / 70
        + world.lastyear * (lastyear - 1260) / 690
        + world.employees * (employees - 190) / 127
    )
    exited = u[6] < 1 / (1 + np.exp(-logit))
    features = np.rint([lastmonth, lastyear, employees]).astype(np.int32)
    features[u[8:] < MISSING_SHARE] = -1
    return Clients(np.arange(first, first + n), features, exited.astype(np.int8))


def repeat_rows(n: int, duplicate_share: float, *, seed: Sequence[int]) -> np.ndarray:
    """Say which client stands in each of `n` rows: the next one, or any earlier one once more."""
    u = np.random.Generator(np.random.PCG64([*seed])).random((2, n))
    is_new = u[0] >= duplicate_share
    is_new[0] = True
    last = np.cumsum(is_new) - 1
    return np.where(is_new, last, (u[1] * (last + 1)).astype(np.int64))


def name_clients(number: np.ndarray) -> np.ndarray:
    """Name clients: different numbers give different names, up to 12 million."""
    heads = np.array([f"{stem} {trade}" for stem in STEMS.split() for trade in TRADES.split()], dtype=object)
    tails = np.array(
        [f" {place}{form}" for place in PLACES.split() for form in FORMS.split("|")], dtype=object
    )
    total = len(heads) * len(tails)
    if number.size and number.max() >= total:
        raise ValueError(f"there are only {total:,} names")
    # A prime, so that numbers differ in their names and neighbours have nothing in common.
    tail, head = np.divmod(number * 7_368_787 % total, len(heads))
    names = heads[head] + tails[tail]
    has_comma = np.array(["," in text for text in tails])[tail]
    names[has_comma] = '"' + names[has_comma] + '"'
    return names


def render_rows(clients: Clients) -> str:
    """Render rows as CSV lines."""
    texts = np.array([*map(str, range(int(clients.features.max(initial=0)) + 1)), ""], dtype=object)
    lines = name_clients(clients.number)
    for column in (*clients.features, clients.exited):
        lines = lines + "," + texts[column]
    return "\n".join([*lines, ""])


def write_table(path: Path, clients: Clients) -> None:
    """Write one CSV file, in blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as handle:
        handle.write(HEADER + "\n")
        for start in range(0, len(clients.exited), BLOCK):
            handle.write(render_rows(clients.take(slice(start, start + BLOCK))))


def make_sample(folder: Path, *, further: int = 0, seed: int = SEED) -> None:
    """Write practicedata, sourcedata and testdata, and further unseen batches of the production world."""
    n = 2 * SAMPLE_ROWS
    for part, (name, world, numbers) in enumerate(
        [("practicedata", PRACTICE, (1, 2)), ("sourcedata", PRODUCTION, (3, 4))]
    ):
        rows = repeat_rows(n, SAMPLE_DUPLICATE_SHARE, seed=(seed, part, 1))
        clients = draw_clients(world, int(rows.max()) + 1, seed=(seed, part, 0), first=part * n).take(rows)
        for position, number in enumerate(numbers):
            half = slice(position * SAMPLE_ROWS, (position + 1) * SAMPLE_ROWS)
            write_table(folder / name / f"dataset{number}.csv", clients.take(half))
    n_new = round(TEST_ROWS * TEST_NEW_SHARE)
    old = draw_clients(PRACTICE, TEST_ROWS - n_new, seed=(seed, 2, 0), first=2 * n)
    new = draw_clients(PRODUCTION, n_new, seed=(seed, 2, 1), first=2 * n + TEST_ROWS)
    both = Clients(
        np.concatenate([old.number, new.number]),
        np.concatenate([old.features, new.features], axis=1),
        np.concatenate([old.exited, new.exited]),
    )
    order = np.argsort(np.random.Generator(np.random.PCG64([seed, 2, 2])).random(TEST_ROWS), kind="stable")
    write_table(folder / "testdata" / "testdata.csv", both.take(order))
    for batch in range(further):
        rows = repeat_rows(SAMPLE_ROWS, SAMPLE_DUPLICATE_SHARE, seed=(seed, 3, batch, 1))
        first = 4 * n + batch * SAMPLE_ROWS
        clients = draw_clients(PRODUCTION, int(rows.max()) + 1, seed=(seed, 3, batch, 0), first=first)
        write_table(folder / "further" / f"further{batch + 1}.csv", clients.take(rows))
    write_readmes(folder, seed)


def write_readmes(folder: Path, seed: int) -> None:
    """Write into each folder what it holds."""
    for name, (title, text) in FOLDERS.items():
        files = ", ".join(f"`{path.name}`" for path in sorted((folder / name).glob("*.csv")))
        duplicates = (
            ""
            if name == "testdata"
            else ", and about 4 % of the rows repeat an earlier one, in the same file or in the other"
        )
        readme = README.format(title=title, files=files, text=text, duplicates=duplicates, seed=seed)
        lines = (textwrap.fill(line, 110, break_on_hyphens=False) for line in readme.splitlines())
        (folder / name / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_table(
    folder: Path, *, n_rows: int, n_files: int, duplicate_share: float, drift: bool, seed: int = SEED
) -> None:
    """Write a table of any size in equal files; with `drift` its second half is of the production world."""
    rows = repeat_rows(n_rows, duplicate_share, seed=(seed, 4, 1))
    n_clients = int(rows.max()) + 1
    n_old = n_clients // 2 if drift else n_clients
    parts = [draw_clients(PRACTICE, n_old, seed=(seed, 4, 2), first=0)]
    if drift:
        parts.append(draw_clients(PRODUCTION, n_clients - n_old, seed=(seed, 4, 3), first=n_old))
    clients = Clients(
        np.concatenate([part.number for part in parts]),
        np.concatenate([part.features for part in parts], axis=1),
        np.concatenate([part.exited for part in parts]),
    )
    for number, chosen in enumerate(np.array_split(rows, n_files), start=1):
        write_table(folder / f"dataset{number:0{len(str(n_files))}}.csv", clients.take(chosen))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    sample = kinds.add_parser("sample", help="the data shipped with the project")
    sample.add_argument("--further", type=int, default=0, metavar="N", help="further batches of production")
    table = kinds.add_parser("table", help="a table of any size, for benchmarks")
    table.add_argument("--rows", type=int, default=1_000_000, metavar="N")
    table.add_argument("--files", type=int, default=10, metavar="N")
    table.add_argument("--duplicate-share", type=float, default=0.1, metavar="SHARE")
    table.add_argument("--drift", action=argparse.BooleanOptionalAction, default=False)
    for kind in (sample, table):
        kind.add_argument("folder", type=Path, help="where to write; made on need")
        kind.add_argument("--seed", type=int, default=SEED, help="another seed gives other clients")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    asked = _parse(argv)
    if asked.kind == "sample":
        make_sample(asked.folder, further=asked.further, seed=asked.seed)
    else:
        make_table(
            asked.folder,
            n_rows=asked.rows,
            n_files=asked.files,
            duplicate_share=asked.duplicate_share,
            drift=asked.drift,
            seed=asked.seed,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
