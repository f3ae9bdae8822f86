"""One run of the pipeline: ingest what is new, check for drift, and retrain and deploy if needed.

Cron starts this script. With nothing new it ends after a look at the input folder, before the
heavy stages are imported.
"""

from __future__ import annotations

import argparse
import os
from typing import NamedTuple

import tick
from config import Config
from risk.model import registry
from risk.runtime import logs, runner
from risk.runtime.state import (
    State,
    content,
    find_library,
    find_new,
    is_due,
    list_files,
    load_state,
    save_state,
)


class Look(NamedTuple):
    """What a tick sees before it does anything; `reasons` is empty when there is nothing to do."""

    seen: State
    reasons: tuple[str, ...]
    new_names: tuple[str, ...] = ()
    only_pending: bool = False


# --- look: standard library only ---------------------------------------------------------------------------


def look(config: Config) -> tuple[State | None, Look]:
    """Compare the world with the last completed tick; touches nothing."""
    state = load_state(config.tick_state)
    old = state or State()
    source = os.path.relpath(config.input_folder, config.root)
    most = config.limits.file_bytes
    files = list_files(config.input_folder, old.files if old.source == source else {}, most)
    test_files = list_files(config.test_data, old.test_files, most) if config.test_data.is_dir() else {}
    seen = old._replace(
        source=source,
        files=files,
        test_files=test_files,
        row_key=config.row_key(),
        other_key=config.other_key(),
        library=find_library(),
        release=tick.deployed_release(config),
        release_files=registry.facts(config.prod_deployment),
    )
    if state is None:
        return None, Look(seen, ("first tick",), tuple(files))
    new_names = find_new(old.files if old.source == source else {}, files)
    reasons = []
    if new_names:
        reasons.append(f"{len(new_names)} new or changed file{'s' * (len(new_names) != 1)}")
    if old.source != source:
        reasons.append(f"the input folder is {source} now")
    if old.row_key != seen.row_key:
        reasons.append("config.json shapes rows in another way")
    if old.impossible is not None and old.other_key != seen.other_key:
        reasons.append("config.json asks for another model than the one that could not be trained")
    if content(old.test_files) != content(test_files):
        reasons.append("the test data are others")
    if old.library != seen.library:
        reasons.append("scikit-learn was installed anew")
    if old.release != seen.release:
        reasons.append("another release is deployed")
    elif old.release_files != seen.release_files and tick.is_damaged(config):
        reasons.append("the deployed release is damaged")
    only_pending = not reasons
    if old.pending is not None and is_due(old.pending):
        reasons.append(f"steps left from before: {', '.join(old.pending['steps'])}")
    return state, Look(seen, tuple(reasons), new_names, only_pending)


# --- run ---------------------------------------------------------------------------------------------------


def run(config: Config, *, dry_run: bool = False) -> tick.Result:
    """Run one tick, or with `dry_run` say what it would do.

    Raises
    ------
    PipelineError
        What only the world can mend (a damaged release, a full disk); the next tick tries again.
    """
    state, found = look(config)
    if dry_run:
        return tell(config, state, found)
    if not found.reasons:
        if state is not None and state != found.seen:
            if state.other_key != found.seen.other_key:
                logs.log("fullprocess").warning(
                    "config.json changed: it counts from the next new data on, or run training.py, "
                    "scoring.py and deployment.py"
                )
            save_state(config.tick_state, found.seen)
        else:
            os.utime(config.tick_state)
        return tick.Result(state=found.seen)
    logs.log("fullprocess").info("tick: %s", "; ".join(found.reasons))
    if state is not None and found.only_pending:
        left = state.pending or {}
        state = tick.finish(config, found.seen, left["steps"], left["tries"])
        save_state(config.tick_state, state)
        return tick.Result(release=tick.id_of(state.release), reason="; ".join(found.reasons), state=state)
    return tick.Tick(config, state, found.seen).run()


def tell(config: Config, state: State | None, found: Look) -> tick.Result:
    """Say what a tick would do and why."""
    if not found.reasons:
        return tick.Result(reason="nothing new", said="nothing new: a tick would end here\n")
    lines = [f"why: {reason}\n" for reason in found.reasons]
    lines += [f"would take up {config.input_folder.name}/{name}\n" for name in found.new_names]
    if found.only_pending and state is not None and state.pending:
        lines.append(f"would run {', '.join(state.pending['steps'])}\n")
    elif found.seen.release is None:
        lines.append("would train, score and deploy: nothing is deployed yet\n")
    elif state is not None and state.row_key != found.seen.row_key:
        lines.append("would compile the table anew, train, score and deploy\n")
    else:
        lines.append(f"would judge release {tick.id_of(found.seen.release)} on the rows that are new\n")
        lines.append("would train, score and deploy if there is drift\n")
    if not found.only_pending:
        lines.append("would diagnose and report\n")
    reason = "; ".join(found.reasons)
    return tick.Result(bool(found.new_names), len(found.new_names), reason=reason, said="".join(lines))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="say what a run would do and why; change nothing"
    )


def main(argv: list[str] | None = None) -> int:
    """Run from the shell, or by cron."""
    return runner.main("fullprocess", run, argv, description=__doc__, options=add_options, by_cron=True)


if __name__ == "__main__":
    raise SystemExit(main())
