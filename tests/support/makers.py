"""Clients of two worlds, to fill a workspace with."""

import random

HEADER = ["corporation", "activity", "colour", "exited"]


def make_clients(n, seed, world="old"):
    """Make rows of one world: quiet clients leave in the old one, busy ones in the new one."""
    draw = random.Random(f"{seed}-{world}")
    rows = []
    for number in range(n):
        activity = draw.randint(0, 100)
        risk = 0.9 if (activity < 40) == (world == "old") else 0.1
        colour = draw.choice(["red", "green", "blue", ""])
        rows.append([f"client-{seed}-{number}", str(activity), colour, str(int(draw.random() < risk))])
    return rows


def csv_line(cells):
    """Write a row as it stands in a file: commas, LF, least quoting."""
    from risk.text import render_csv_row

    return render_csv_row([*map(str, cells)]).encode()
