"""Does it hold for a thousand rounds of everything that can happen to a workspace?

Files come, change, go, are uploaded by half; ticks run alone, two at a time, beside stages by hand; they
are killed, or their disk is full; the clock jumps over daylight saving and back. Others read all the
while, over HTTP and on disk. At the end the table must be what a fresh workspace makes of the same
files, to the byte, and so must the model and the release.
"""

import datetime
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from api_kit import Server, free_port
from faults import child, readers, world
from faults.calls import FAULTS
from faults.child import TICK, Ended, Running
from faults.world import Torn
from makers import HEADER, make_clients

from risk.digests import sha256
from risk.errors import ArtifactError, MissingArtifactError
from risk.metrics import cross_validation
from risk.model import pickling, registry

MOST_CALLS, LONGEST_TICK_S = 240, 2.5
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
# Around these moments the clocks of the zones change.
EDGES = ("2026-03-29T01:00", "2026-10-25T01:00", "2026-11-01T06:00", "2027-03-14T07:00", "2026-10-03T15:30")
NO_TABLE = (
    b"<html><body>Service unavailable</body></html>\n",
    b"",
    b"corporation,activity,colour,exited\n",
    b"corporation;activity;colour\nx;1;red\n",
    b"corporation,activity,colour,exited\nx,1,red\x00,1\n",
    b"corporation,activity,activity,exited\nx,1,1,1\n",
    "corporation,activity,colour,exited\nx,viele,grün,1\n".encode("utf-16"),
)
BY_HAND = (
    ("ingestion",),
    ("training",),
    ("scoring",),
    ("deployment",),
    ("deployment", "--rollback"),
    ("deployment", "--list"),
    ("diagnostics",),
    ("reporting",),
    ("dbsetup",),
    ("fullprocess", "--dry-run"),
)
# Ends that a run may have which met no fault: 64 nothing to roll back to, 65 bad data or stages out of
# order, 66 nothing there yet, 75 another run holds the workspace.
FAIR = {"fullprocess": {0, 65}}
FAIR_BY_HAND = {0, 64, 65, 66, 75}
ROWS = [dict(zip(HEADER[:3], row[:3], strict=True)) for row in make_clients(5, "asked")]


class Soak:
    """One workspace and its rounds."""

    def __init__(self, folder: Path, draw: random.Random, sabotage: Callable[[], None] | None) -> None:
        self.draw, self.sabotage = draw, sabotage
        self.folder = folder
        self.root = world.make(folder / "soaked").root
        self.inputs = self.root / "sourcedata"
        self.archive: dict[str, bytes] = {}
        self.counts: Counter[str] = Counter()
        self.n_files = 0
        self.half: tuple[str, bytes] | None = None
        self.note((self.inputs / "a.csv").read_bytes())

    # --- what happens to the inputs ---

    def note(self, data: bytes) -> None:
        """Remember a content that the input folder had: a ledger may name it."""
        self.archive[sha256(data)] = data

    def write(self, name: str, data: bytes) -> None:
        """Write a file as uploads do: beside and renamed, or in its place."""
        self.note(data)
        path = self.inputs / name
        if self.draw.random() < 0.5:
            self.note(b"")  # what stands there for a moment
            path.write_bytes(data)
        else:
            beside = self.inputs / f".{name}.part"
            beside.write_bytes(data)
            beside.rename(path)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.inputs.glob("[!.]*.csv"))

    def make_rows(self) -> bytes:
        self.n_files += 1
        kind = self.draw.choice(["old", "old", "new"])
        rows = make_clients(self.draw.randint(1, 30), f"{self.n_files}-{self.draw.random()}", kind)
        return "".join(",".join(row) + "\n" for row in [HEADER, *rows]).encode()

    def add(self) -> None:
        self.write(f"c{self.n_files}.csv", self.make_rows())

    def add_no_table(self) -> None:
        self.n_files += 1
        self.write(f"c{self.n_files}.csv", self.draw.choice(NO_TABLE))

    def change(self) -> None:
        name = self.draw.choice([*self.names(), "a.csv"])
        data = self.make_rows()
        if self.draw.random() < 0.6 and (self.inputs / name).exists():  # more of it, as exports grow
            data = (self.inputs / name).read_bytes() + data.partition(b"\n")[2]
        self.write(name, data)

    def remove(self) -> None:
        for name in self.names()[:1]:
            (self.inputs / name).unlink()

    def touch(self) -> None:
        for name in self.names():
            at = time.time() + self.draw.uniform(-1e7, 1e7)
            os.utime(self.inputs / name, (at, at))

    def upload_half(self) -> None:
        """Begin an upload in its place; a later round ends it."""
        if self.half is not None:
            self.write(*self.half)
            self.half = None
            return
        data = self.make_rows()
        self.half = (f"c{self.n_files}.csv", data)
        part = data[: self.draw.randint(1, len(data) - 1)]
        self.note(part)
        self.note(b"")
        (self.inputs / self.half[0]).write_bytes(part)

    def happen(self) -> None:
        """Let something happen to the input folder, or nothing."""
        events = {
            self.add: 8, self.change: 2, self.remove: 1, self.touch: 1, self.add_no_table: 1,
            self.upload_half: 3, None: 8,
        }  # fmt: skip
        (event,) = self.draw.choices([*events], [*events.values()])
        if event is not None:
            self.counts[f"inputs: {event.__name__}"] += 1
            event()

    # --- what runs ---

    def begin(self, *command: str, **options) -> Running:
        """Start a run under some clock of some zone."""
        shift_s, zone = self.choose_clock()

        def prepare() -> None:
            os.environ["TZ"] = zone
            time.tzset()
            keep_packages(self.root)
            if self.sabotage is not None:
                self.sabotage()

        return Running(self.root, *command, shift_s=shift_s, prepare=prepare, **options)

    def choose_clock(self) -> tuple[float, str]:
        """Draw how far the clock is off: not, some days, or so that daylight saving begins or ends now."""
        kind = self.draw.randrange(4)
        shift_s = 0.0
        if kind == 1:
            shift_s = self.draw.uniform(-3, 3) * 86_400
        elif kind == 2:
            edge = datetime.datetime.fromisoformat(self.draw.choice(EDGES) + "+00:00").timestamp()
            shift_s = edge - time.time() - world.TO_NOON_S + self.draw.uniform(-2, 2)
        self.counts["clock jumps"] += shift_s != 0
        return shift_s, self.draw.choice(ZONES)

    def run_something(self) -> None:
        """Run ticks and stages, disturbed in some way."""
        way = self.draw.choice(
            ["tick", "tick", "killed at a call", "killed at a call", "killed at any moment",
             "an error", "two ticks", "beside a stage", "killed beside a stage"]
        )  # fmt: skip
        self.counts[f"rounds: {way}"] += 1
        options = {
            "killed at a call": {"fault": self.draw.choice(("kill", "half")), "at": self.draw_call()},
            "an error": {"fault": self.draw.choice(FAULTS[2:]), "at": self.draw_call()},
            "killed at any moment": {"also": self.strike()},
            "killed beside a stage": {"also": self.strike()},
        }.get(way, {})
        running = [(TICK, self.begin(*TICK, **options), options)]
        if way == "two ticks":
            running.append((TICK, self.begin(*TICK), {}))
        if way.endswith("beside a stage"):
            command = self.draw.choice(BY_HAND)
            running.append((command, self.begin(*command), {}))
        if self.draw.random() < 0.3:
            time.sleep(self.draw.uniform(0, 0.3))
            self.happen()
        for command, run, given in running:
            self.judge(command, run.wait(), given)

    def draw_call(self) -> int:
        return self.draw.randrange(MOST_CALLS)

    def strike(self) -> Callable:
        """Let a child die some time behind its first call."""
        delay_s = self.draw.uniform(0, LONGEST_TICK_S)

        def also(number, call) -> None:
            if number == 0:
                signal.setitimer(signal.ITIMER_REAL, delay_s)

        return also

    def judge(self, command: tuple[str, ...], ended: Ended, options: dict) -> None:
        """Check how a run ended."""
        fair = FAIR.get(command[0], FAIR_BY_HAND)
        if "also" in options:
            fair = fair | {-signal.SIGALRM}
        elif ended.struck:
            fair = fair | {-signal.SIGKILL, 74, 77}
        if ended.code not in fair or "Traceback" in ended.said:
            raise Torn(f"{' '.join(command)} ended with {ended.code}: {ended.out[:300]} {ended.said[-1500:]}")
        self.counts[f"{command[0]}: {'killed' if ended.code < 0 else ended.code}"] += 1
        if command == TICK and ended.code == 0:
            told = json.loads(ended.out) if ended.out else {}
            self.counts["ticks that deployed"] += bool(told.get("deployed"))
            self.counts["ticks with nothing to do"] += told.get("reason") is None

    def round(self) -> None:
        """Live through one round."""
        before = registry.current(self.root / "production_deployment")
        self.happen()
        self.run_something()
        check_whole(self.root)
        self.counts["flips"] += before != registry.current(self.root / "production_deployment")

    # --- the end ---

    def settle(self) -> None:
        """End the upload, and let ticks run until one is idle."""
        if self.half is not None:
            self.upload_half()
        for number in range(8):
            ended = child.run(self.root, *TICK, shift_s=1_200 * (1 + number), prepare=self.sabotage)
            self.judge(TICK, ended, {})
            if not ended.out:
                raise Torn(f"a tick does not tell how it ended: {ended.said}")
            if not any(json.loads(ended.out).values()):
                return
        raise Torn(f"the workspace does not come to rest: {ended.out} {ended.said}")

    def compare_with_fresh(self) -> None:
        """Make a fresh workspace of the same files, and compare."""
        ledger = read_ledger(self.root)
        fresh = world.make(self.folder / "fresh").root
        (fresh / "sourcedata" / "a.csv").unlink()
        for batch in sorted({entry["batch"] for entry in ledger["files"]}):
            for entry in ledger["files"]:
                if entry["batch"] == batch:
                    (fresh / "sourcedata" / entry["name"]).write_bytes(self.archive[entry["sha256"]])
            self.judge(("ingestion",), child.run(fresh, "ingestion"), {})
        for command in (("training",), ("scoring",), ("deployment",)):
            for root in (self.root, fresh):
                ended = child.run(root, *command)
                if ended.code != 0:
                    raise Torn(f"{command} at the end: {ended.code} {ended.said}")
        found, expected = (comparable(root) for root in (self.root, fresh))
        if found != expected:
            raise Torn("not as from scratch: " + "; ".join(world.differences(expected, found)))
        self.counts["rows at the end"] = ledger["rows"]
        self.counts["files taken up"] = len(ledger["files"])
        self.counts["batches"] = len({entry["batch"] for entry in ledger["files"]})

    def check_history(self) -> None:
        """See that the history has every file once, and every release that a tick deployed."""
        ledger = read_ledger(self.root)
        past = world.history(self.root)
        told = sorted((row[1], row[2], row[3]) for row in past["history/ingested_files"])
        expected = sorted((entry["batch"], entry["name"], entry["sha256"]) for entry in ledger["files"])
        if told != expected:
            raise Torn(f"the history tells of {len(told)} files, the ledger of {len(expected)}")
        known = {row[0] for row in past["history/releases"]}
        folder = self.root / "production_deployment"
        for name in registry.list_names(folder):
            release = registry.read(folder, name)
            if release.manifest["deployed_by"] == "tick" and release.id not in known:
                raise Torn(f"the history does not know release {release.id}")


def keep_packages(root: Path) -> None:
    """Let the answers about packages be of now, whatever now is: nobody asks an index."""
    path = root / ".state" / "packages.json"
    known = json.loads(path.read_bytes())
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps({name: {**answer, "at": time.time()} for name, answer in known.items()}))
    beside.rename(path)


def check_whole(root: Path) -> None:
    """See that what is deployed is one whole release, for a stranger and for us."""
    seen = world.look(root)
    if seen is None:
        return
    world.see(root, [seen])
    digests = json.loads(seen[registry.MANIFEST])["files"]
    if {name: sha256(seen[name]) for name in registry.NAMES} != digests:
        raise Torn("the visible files are not those of their manifest")


def comparable(root: Path) -> dict[str, object]:
    """Give what must not depend on what happened on the way."""
    table = ("finaldata.csv", ".finaldata.json", "ingestedfiles.txt", "rejectedrows.csv")
    model = ("trainedmodel.pkl", "modelcard.json", "latestscore.txt", "metrics.json", ".ingestedfiles.txt")
    names = [*(f"ingesteddata/{name}" for name in table), *(f"models/{name}" for name in model)]
    found: dict[str, object] = {name: (root / name).read_bytes() for name in names}
    found["the ledger"] = {str(n): entry for n, entry in enumerate(read_ledger(root)["files"])}
    return found | (world.look(root) or {})


def read_ledger(root: Path) -> dict:
    return json.loads((root / "ingesteddata" / ".finaldata.json").read_bytes())


# --- who reads all the while -------------------------------------------------------------------------------


def read_disk_for_ever(root: Path, told: Path) -> None:
    """Load the deployed release again and again."""
    with told.open("w", buffering=1) as handle:
        while True:
            try:
                release = registry.load(root / "production_deployment")
                word = "disk reads"
                if json.loads(release.files["modelcard.json"])["model_sha256"] != sha256(
                    release.files["trainedmodel.pkl"]
                ):
                    word = "wrong: card of another model"
            except MissingArtifactError:
                word = "disk reads before any release"
            except ArtifactError as error:
                word = f"wrong: {error}"
            handle.write(json.dumps({word: 1}) + "\n")
            time.sleep(0.005)


def read_http_for_ever(root: Path, port: int, told: Path) -> None:
    """Ask the API again and again, and hold each answer against the release that it names."""
    asked = Server.__new__(Server)
    asked.port = port
    expected: dict[str, list | None] = {}
    with told.open("w", buffering=1) as handle:
        while True:
            try:
                status, answer = asked.predict(ROWS)
            except OSError as error:
                status, answer = 0, error
            word = "HTTP reads"
            if status == 503:
                word = "HTTP reads before any release"
            elif status != 200:
                word = f"wrong: HTTP {status} {answer}"
            else:
                name = answer["release"]
                if name not in expected:
                    expected[name] = predict(root, name)
                if expected[name] not in (None, [row["class"] for row in answer["predictions"]]):
                    word = f"wrong: predictions that release {name} does not make"
            handle.write(json.dumps({word: 1}) + "\n")
            time.sleep(0.05)


def predict(root: Path, release_id: str) -> list[int] | None:
    """Ask the model of a release itself; None when it was pruned meanwhile."""
    import pandas as pd

    folder = root / "production_deployment"
    for name in registry.list_names(folder):
        if registry.release_id(name) == release_id:
            try:
                release = registry.read(folder, name)
            except (OSError, ArtifactError):
                return None
            card = release.json("modelcard.json")
            model = pickling.load_model(release.files["trainedmodel.pkl"], card["model_sha256"], folder)
            frame = pd.DataFrame(ROWS).replace("", None).astype({"activity": "float64"})
            return [int(label) for label in model.predict(frame)]
    return None


# --- the run -----------------------------------------------------------------------------------------------


def run(folder: Path, n_rounds: int, draw: random.Random, sabotage, report, minutes: float | None) -> None:
    """Live through so many rounds, and compare with a fresh workspace."""
    cross_validation.N_FOLDS, cross_validation.N_REPEATS = (
        2,
        1,
    )  # a choice of models is made sooner; it is no matter here
    soak = Soak(folder, draw, sabotage)
    port = free_port()
    world.configure(soak.root, api={"port": port})
    told = [folder / "told-disk", folder / "told-http"]
    script = Path(__file__).resolve().parents[2] / "app.py"
    command = [os.sys.executable, str(script), "--config", str(soak.root / "config.json")]
    deadline = time.monotonic() + 60 * minutes if minutes else None
    with Server(command, port, cwd=folder):
        workers = [
            readers.start(read_disk_for_ever, soak.root, told[0]),
            readers.start(read_http_for_ever, soak.root, port, told[1]),
        ]
        try:
            for _ in range(n_rounds):
                if deadline and time.monotonic() > deadline:
                    break
                soak.round()
                report.counts["rounds"] += 1
            soak.settle()
            check_whole(soak.root)
            soak.check_history()
            soak.compare_with_fresh()
        except Torn as error:
            report.wrong.append(f"round {report.counts['rounds']}: {error}")
        finally:
            for worker in workers:
                if os.waitpid(worker, os.WNOHANG)[0]:
                    report.wrong.append("a reader has ended")
                else:
                    os.kill(worker, signal.SIGKILL)
                    os.waitpid(worker, 0)
    read: Counter[str] = Counter()
    for path in told:
        for line in path.read_text().splitlines()[:-1]:
            read.update(json.loads(line))
    report.counts.update(read)
    report.counts.update(soak.counts)
    report.wrong += [f"{word}: {count} times" for word, count in read.items() if word.startswith("wrong")]
