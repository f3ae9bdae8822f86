"""Which harnesses are there, and how much does each do in its short, middle and full form?"""

from faults import child, inject, mounts, powercut, readers, sabotage, soak, space, world
from faults.calls import FAULTS
from faults.harness import share

# Faults injected and moments drawn; None is every one there is.
INJECTED = {"short": 24, "middle": 260, "full": None}
CUTS = {"short": (8, 2), "middle": (30, 6), "full": (None, 40)}
ROOMS = {"short": 2, "middle": 12, "full": None}
LEAST_PAGES = 30  # of 4 kB: no tick can do with fewer
LOCKS = {"short": 3, "middle": 11, "full": 11}
AIMS = {
    "short": readers.Aim(100, 5_000),
    "middle": readers.Aim(1_000, 100_000),
    "full": readers.Aim(10_000, 1_000_000),
}
ROUNDS = {"short": 12, "middle": 40, "full": 1_000}
MOMENTS = {"short": 6, "middle": 40, "full": 240}  # some find the run ended already


def run_inject(options, folder, draw, report) -> None:
    """Let every call that writes fail in every way."""
    goldens, saboteur = prepare(options, folder)
    faults = ("lost",) if options.sabotage == "no-digest" else (*FAULTS, "lost")
    points = inject.list_points(goldens, draw, faults)[: INJECTED[options.form]]
    work_off(points, goldens, saboteur, folder, options, report)


def run_kills(options, folder, draw, report) -> None:
    """Kill at random moments, also while code in C writes."""
    goldens, saboteur = prepare(options, folder)
    points = inject.draw_moments(goldens, draw, MOMENTS[options.form])
    work_off(points, goldens, saboteur, folder, options, report)


def prepare(options, folder):
    child.preload(world.make(folder / "warm").root)
    saboteur = sabotage.ALL.get(options.sabotage)
    names = options.scenarios or list(inject.SCENARIOS)
    return inject.make_goldens(names, folder, sabotage=saboteur), saboteur


def work_off(points, goldens, saboteur, folder, options, report) -> None:
    def work(point, own):
        return inject.check(point, goldens[point.scenario], own, saboteur)

    share(points, work, folder, options, report)


def run_powercut(options, folder, draw, report) -> None:
    """Cut the power before every call that writes, and at random moments."""
    report.skipped = mounts.enter() or mounts.why_no_loop(folder)
    if report.skipped:
        return
    names = options.scenarios or ["fresh", "upgrade", "append"]
    child.preload(world.make(folder / "warm").root)
    goldens = inject.make_goldens(names, folder)
    n_calls, n_moments = CUTS[options.form]
    cuts, commits = [], {}
    for name, golden in goldens.items():
        numbers = range(len(golden.calls))
        calls = None if n_calls is None else {*draw.sample(numbers, min(n_calls, len(numbers)))}
        power = powercut.Power(folder, calls, n_moments, draw)
        found, commits[name] = powercut.take_cuts(name, golden, power, sabotage.ALL.get(options.sabotage))
        cuts += found
    draw.shuffle(cuts)

    def work(cut, own):
        return powercut.check(cut, goldens[cut.scenario], commits[cut.scenario], own)

    share(cuts, work, folder, options, report)


def run_space(options, folder, draw, report) -> None:
    """Fill the disk, page by page; and forbid to write."""
    report.skipped = mounts.enter()
    if report.skipped:
        return
    child.preload(world.make(folder / "warm").root)
    saboteur = sabotage.ALL.get(options.sabotage)
    goldens = inject.make_goldens(["fresh", "upgrade"], folder, sabotage=saboteur)
    locks = [space.Locked("upgrade", part) for part in space.LOCKED]
    locks.append(space.Locked("upgrade", None, by_owner=True))
    points = [] if saboteur else draw.sample(locks, LOCKS[options.form])
    for name, golden in goldens.items():
        n = ROOMS["middle" if saboteur else options.form]
        quick = options.form == "short" and not saboteur
        need = LEAST_PAGES if quick else space.find_need(name, golden, folder)
        rooms = {0, *draw.sample(range(need), min(n or need, need))}  # not even the lock finds room
        points += [space.Room(name, pages) for pages in sorted(rooms)]
    draw.shuffle(points)

    def work(point, own):
        return space.check(point, goldens[point.scenario], own, saboteur)

    share(points, work, folder, options, report)


def run_readers(options, folder, draw, report) -> None:
    """Read while releases are swapped as fast as the disk allows."""
    readers.run(folder, AIMS[options.form], options.seed, sabotage.ALL.get(options.sabotage), report)


def run_soak(options, folder, draw, report) -> None:
    """Let everything happen to one workspace, for many rounds."""
    child.preload(world.make(folder / "warm").root)
    saboteur = sabotage.ALL.get(options.sabotage)
    soak.run(folder, options.rounds or ROUNDS[options.form], draw, saboteur, report, options.minutes)


ALL = {
    "inject": run_inject,
    "kills": run_kills,
    "powercut": run_powercut,
    "space": run_space,
    "readers": run_readers,
    "soak": run_soak,
}
