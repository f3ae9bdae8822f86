"""Does every single call that writes survive its failure?

For each scenario the calls of an undisturbed run are listed. Then each of them meets, in a run of its
own, kill -9, half a write, ENOSPC, EIO and EACCES; beside it runs are killed at random moments, half of
them while code in C writes. A reader must see the release before or the one after; running again must
end in the same bytes and the same history; the tick after it must be idle.
"""

import json
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faults import child, world
from faults.calls import FAULTS, Call
from faults.child import TICK
from faults.world import Torn

FREE = "bytes are free there"
AFTER_A_PAUSE_S = 1_200  # a failed step is tried again after ten minutes
EXITS = {
    "kill": (-signal.SIGKILL,),
    "half": (-signal.SIGKILL,),
    "lost": (0, 65),
    "ENOSPC": (0, 74),
    "EIO": (0, 74),
    "EACCES": (0, 77),
    "any moment": (-signal.SIGALRM,),
}
# What code in C has written by the time of these calls: DuckDB the new rows, SQLite the history.
WRITTEN_IN_C = (".state/spill/", "ingesteddata/finaldata.csv", ".state/outbox/")


@dataclass(frozen=True)
class Scenario:
    """A workspace, and the commands that are run in it; faults strike the first of them."""

    prepare: Callable[[Path], None]
    commands: tuple[tuple[str, ...], ...] = (TICK,)
    begun: bool = True
    flips: bool = True


@dataclass(frozen=True)
class Point:
    """Where a fault strikes: at a call, or so many seconds behind it."""

    scenario: str
    at: int
    fault: str
    behind_s: float = 0.0


@dataclass(frozen=True)
class Golden:
    """An undisturbed run: its calls, what stood before and after, what the end is."""

    base: Path
    calls: list[Call]
    releases: list[dict[str, bytes] | None]
    facts: dict[str, object]


def tick(root: Path, **options) -> None:
    """Run a tick that must end well."""
    ended = child.run(root, *TICK, **options)
    assert ended.code == 0, ended.said


def drift(root: Path) -> None:
    world.add(root, "c", "new", 4 * world.N_ROWS)  # enough for the gate to decide


def upgrade(root: Path) -> None:
    """Let the release before be pruned at once."""
    world.configure(root, deployment={"keep_releases": 1})
    drift(root)


def drift_and_tick(root: Path) -> None:
    drift(root)
    tick(root)


def grow(root: Path) -> None:
    world.grow(root)
    world.add(root, "c", "clear")


SCENARIOS = {
    "fresh": Scenario(lambda root: None, begun=False),
    "upgrade": Scenario(upgrade),
    # Too few rows for the gate, which then looks at the test data: they are of the old world.
    "held": Scenario(lambda root: world.add(root, "c", "new"), flips=False),
    "append": Scenario(lambda root: world.add(root, "c", "clear"), flips=False),
    "large": Scenario(grow, flips=False),
    "rollback": Scenario(drift_and_tick, (("deployment", "--rollback", "FIRST"), TICK)),
}


def make_goldens(names: list[str], folder: Path, *, sabotage=None) -> dict[str, Golden]:
    """Make the workspace of each scenario, and run its commands undisturbed in a copy."""
    fresh = world.make(folder / "fresh").root
    begun = world.copy(fresh, folder / "begun")
    tick(begun, prepare=sabotage)
    goldens = {}
    for name in names:
        scenario = SCENARIOS[name]
        base = world.copy(begun if scenario.begun else fresh, folder / f"{name}-base")
        scenario.prepare(base)
        goldens[name] = run_undisturbed(name, base, folder / f"{name}-golden", sabotage)
    return goldens


def run_undisturbed(name: str, base: Path, work: Path, sabotage=None) -> Golden:
    """Run the commands of a scenario in a copy of its workspace."""
    scenario = SCENARIOS[name]
    world.copy(base, work)
    before = world.look(work)
    ended = [child.run(work, *command_of(base, command), prepare=sabotage) for command in scenario.commands]
    assert all(run.code == 0 for run in ended), ended
    after = world.look(work)
    assert (before != after) == scenario.flips, f"{name}: decides otherwise than when this was written"
    assert (world.say_digests(work) == "right") == (base / world.LARGE).exists()
    whole = [before, after] if scenario.flips else [before]
    return Golden(base, ended[0].calls, whole, world.facts(work))


def command_of(base: Path, command: tuple[str, ...]) -> tuple[str, ...]:
    """Put the id of the first release of a workspace where a command asks for it."""
    names = sorted(path.name for path in (base / "production_deployment").glob("..r*-*"))
    return tuple(names[0].partition("-")[2] if part == "FIRST" else part for part in command)


# --- which points ------------------------------------------------------------------------------------------


def list_points(goldens: dict[str, Golden], draw: random.Random, faults=FAULTS) -> list[Point]:
    """List every call with every fault it can meet: shuffled, one of each kind before any second one."""
    seen: Counter[tuple[str, ...]] = Counter()
    ranked = []
    points = [
        Point(name, at, fault)
        for name, golden in goldens.items()
        for at, call in enumerate(golden.calls)
        for fault in faults
        if call.can(fault)
    ]
    for point in draw.sample(points, len(points)):
        call = goldens[point.scenario].calls[point.at]
        kind = (point.scenario, call.name, call.place, point.fault)
        ranked.append((seen[kind], point))
        seen[kind] += 1
    return [point for _, point in sorted(ranked, key=lambda found: found[0])]


def draw_moments(goldens: dict[str, Golden], draw: random.Random, n: int) -> list[Point]:
    """Draw moments at which to kill: half from the whole run, half from those in which C writes."""
    gaps = [
        (name, at, later.at_s - call.at_s, later.place.startswith(WRITTEN_IN_C))
        for name, golden in goldens.items()
        for at, (call, later) in enumerate(zip(golden.calls, golden.calls[1:], strict=False))
    ]
    in_c = [gap for gap in gaps if gap[3]]
    points = []
    for number in range(n):
        among = in_c if number % 2 else gaps
        (name, at, gap_s, _) = draw.choices(among, [gap[2] for gap in among])[0]
        points.append(Point(name, at, "any moment", draw.uniform(1e-6, gap_s)))
    return points


# --- one point ---------------------------------------------------------------------------------------------


def check(point: Point, golden: Golden, folder: Path, sabotage=None) -> str:
    """Let one call fail, and see that nothing is torn and everything heals; return how the run ended.

    Raises
    ------
    Torn
        With what went wrong.
    """
    scenario = SCENARIOS[point.scenario]
    work = world.copy(golden.base, folder / world.NAME)
    command = command_of(golden.base, scenario.commands[0])
    if point.fault == "any moment":
        ended = child.run(work, *command, also=strike_behind(point), prepare=sabotage)
        if ended.code >= 0:
            return "ended before"
    else:
        ended = child.run(work, *command, fault=point.fault, at=point.at, prepare=sabotage)
        if not ended.struck:
            raise Torn("the fault did not happen")
    met, expected = ended.calls[point.at], golden.calls[point.at]
    if (met.name, met.place) != (expected.name, expected.place):
        raise Torn(f"call {point.at} is {met}, in the undisturbed run it is {expected}")
    judge_end(ended, point.fault)
    if point.fault == "lost":
        return mend_lost(golden, work, sabotage)
    world.see(work, golden.releases)
    heal(scenario, golden, work, sabotage)
    return "killed" if ended.code < 0 else f"exit {ended.code}"


def strike_behind(point: Point) -> Callable[[int, Call], None]:
    """Let the system kill the process some time behind a call; nothing of ours runs then."""

    def also(number: int, call: Call) -> None:
        if number == point.at:
            signal.setitimer(signal.ITIMER_REAL, point.behind_s)

    return also


def judge_end(ended: child.Ended, fault: str) -> None:
    """Check exit code and words of a run that met a fault."""
    if ended.code not in EXITS[fault]:
        raise Torn(f"ended with {ended.code}: {ended.said[-2000:]}")
    if "Traceback" in ended.said:
        raise Torn(f"a traceback: {ended.said[-2000:]}")
    if ended.code == 74 and fault == "ENOSPC" and FREE not in ended.said:
        raise Torn(f"the free space is not named: {ended.said}")
    if ended.code > 0 and not world.is_named(ended.said):
        raise Torn(f"no path is named: {ended.said}")


def heal(scenario: Scenario, golden: Golden, work: Path, sabotage=None) -> None:
    """Run the commands again: same end as undisturbed; and then once more: idle."""
    for command in scenario.commands:
        again = child.run(
            work,
            *command_of(golden.base, command),
            shift_s=AFTER_A_PAUSE_S,
            prepare=sabotage,
        )
        if again.code != 0 or "Traceback" in again.said:
            raise Torn(f"{command[0]} run again ended with {again.code}: {again.said[-2000:]}")
    found = world.facts(work)
    if found != golden.facts:
        raise Torn("; ".join(world.differences(golden.facts, found)))
    world.see(work, golden.releases[-1:])
    idle = child.run(work, *TICK, shift_s=2 * AFTER_A_PAUSE_S, prepare=sabotage)
    done = {key: value for key, value in json.loads(idle.out or "{}").items() if value}
    if idle.code != 0 or idle.said or done:
        raise Torn(f"the tick after it is not idle: {idle.code} {done} {idle.said[-2000:]}")
    if world.facts(work) != golden.facts:
        raise Torn("the idle tick changed something")


def mend_lost(golden: Golden, work: Path, sabotage=None) -> str:
    """Where the disk kept half of what it took, a reader must refuse; deploying again must mend it."""
    load = child.run(work, "deployment", "--list", prepare=sabotage)
    try:
        world.see(work, golden.releases)
    except Torn as error:
        if "damaged" not in load.out:
            raise Torn(f"half a file is deployed, and not refused: {error}") from error
    again = child.run(work, "deployment", prepare=sabotage)
    seen = world.look(work)
    if again.code != 0 or seen["trainedmodel.pkl"] != golden.releases[-1]["trainedmodel.pkl"]:
        raise Torn(f"deployment.py did not mend it: {again.said}")
    return "refused"
