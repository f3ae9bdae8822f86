"""Which harnesses are there, and how much does each do in its short, middle and full form?"""

from faults import child, inject, mounts, powercut, sabotage, space, world
from faults.calls import FAULTS
from faults.harness import share

# Faults injected and moments drawn; None is every one there is.
INJECTED = {"short": 24, "middle": 260, "full": None}
CUTS = {"short": (8, 2), "middle": (30, 6), "full": (None, 40)}
ROOMS = {"short": 3, "middle": 12, "full": None}
MOMENTS = {"short": 6, "middle": 40, "full": 200}


def run_inject(options, folder, draw, report) -> None:
    """Let every call that writes fail in every way."""
    goldens, saboteur = prepare(options, folder)
    faults = ("lost",) if options.sabotage == "no-digest" else (*FAULTS, "lost")
    points = inject.list_points(goldens, draw, faults)[: INJECTED[options.form]]
    work_off(points, goldens, saboteur, folder, options, report)


def run_kills(options, folder, draw, report) -> None:
    """Kill at random moments, also while code in C writes."""
    goldens, saboteur = prepare(options, folder, draws=True)
    points = inject.draw_moments(goldens, draw, MOMENTS[options.form])
    work_off(points, goldens, saboteur, folder, options, report)


def prepare(options, folder, *, draws=False):
    child.preload(world.make(folder / "warm").root)
    saboteur = sabotage.ALL.get(options.sabotage)
    names = options.scenarios or list(inject.SCENARIOS)
    return inject.make_goldens(names, folder, draws=draws, sabotage=saboteur), saboteur


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
    goldens = inject.make_goldens(["fresh", "upgrade"], folder)
    points = [space.Locked("upgrade", part) for part in space.LOCKED]
    points.append(space.Locked("upgrade", None, by_owner=True))
    for name, golden in goldens.items():
        need = space.find_need(name, golden, folder)
        report.counts[f"pages needed by {name}"] = need
        n = ROOMS[options.form]
        pages = range(need) if n is None else draw.sample(range(need), min(n, need))
        points += [space.Room(name, n_pages) for n_pages in pages]
    draw.shuffle(points)
    share(
        points, lambda point, own: space.check(point, goldens[point.scenario], own), folder, options, report
    )


ALL = {"inject": run_inject, "kills": run_kills, "powercut": run_powercut, "space": run_space}
