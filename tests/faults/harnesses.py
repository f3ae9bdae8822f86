"""Which harnesses are there, and how much does each do in its short, middle and full form?"""

from faults import child, inject, sabotage, world
from faults.calls import FAULTS
from faults.harness import share

# Faults injected and moments drawn; None is every one there is.
INJECTED = {"short": 24, "middle": 260, "full": None}
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


ALL = {"inject": run_inject, "kills": run_kills}
