"""What has changed since the last completed run, and what a run would do about it.

Standard library only: an idle run ends in here.
"""

import os
from typing import NamedTuple

from risk.errors import ArtifactError, MissingArtifactError
from risk.model import registry
from risk.runtime.settings import Config
from risk.runtime.state import (
    State,
    find_new,
    is_due,
    list_digests,
    list_files,
    list_library_facts,
    load_state,
)


class Changes(NamedTuple):
    """What a run sees before it does anything; `reasons` is empty when there is nothing to do.

    `before` is the state of the last completed run, None when there was none. With `only_pending` nothing
    has changed, and steps of an earlier run are due.
    """

    before: State | None
    seen: State
    reasons: tuple[str, ...]
    new_names: tuple[str, ...] = ()
    only_pending: bool = False


def find_changes(config: Config) -> Changes:
    """Compare the workspace with the last completed run; writes nothing."""
    before = load_state(config.tick_state)
    seen = take_snapshot(config, before or State())
    if before is None:
        return Changes(None, seen, ("first run",), tuple(seen.files))
    new_names = find_new(before.files if before.source == seen.source else {}, seen.files)
    reasons = list_changes(config, before, seen, len(new_names))
    pending = []
    if before.pending is not None and is_due(before.pending):
        pending.append(f"unfinished steps of an earlier run: {', '.join(before.pending['steps'])}")
    return Changes(before, seen, (*reasons, *pending), new_names, only_pending=not reasons)


def take_snapshot(config: Config, before: State) -> State:
    """List what is there now; a file whose facts are those of `before` is not read again."""
    source = os.path.relpath(config.input_folder, config.root)
    largest = config.limits.file_bytes
    known = before.files if before.source == source else {}
    return before._replace(
        source=source,
        files=list_files(config.input_folder, known, largest),
        test_files=list_files(config.test_data, before.test_files, largest)
        if config.test_data.is_dir()
        else {},
        row_key=config.row_key(),
        other_key=config.other_key(),
        library=list_library_facts(),
        release=find_deployed_folder(config),
        release_files=registry.list_file_facts(config.prod_deployment),
    )


def list_changes(config: Config, before: State, seen: State, n_new: int) -> list[str]:
    """Give each reason for a run, in words."""
    is_other_model = before.impossible is not None and before.other_key != seen.other_key
    is_same_release = before.release == seen.release
    are_files_touched = is_same_release and before.release_files != seen.release_files
    changes = (
        (n_new > 0, f"{n_new} new or changed file{'s' * (n_new != 1)}"),
        (before.source != seen.source, f"the input folder is now {seen.source}"),
        (before.row_key != seen.row_key, "config.json changed how rows are read"),
        (is_other_model, "config.json asks for another model than the one that could not be trained"),
        (list_digests(before.test_files) != list_digests(seen.test_files), "the test data changed"),
        (before.library != seen.library, "scikit-learn was reinstalled"),
        (not is_same_release, "another release is deployed"),
        (are_files_touched and is_damaged(config), "the deployed release is damaged"),
    )
    return [reason for is_changed, reason in changes if is_changed]


def find_deployed_folder(config: Config) -> str | None:
    """Name the folder of the deployed release as its link says, damaged or not."""
    try:
        return os.readlink(config.prod_deployment / registry.DATA)  # noqa: PTH115
    except OSError:
        return None


def is_damaged(config: Config) -> bool:
    """Check whether the deployed release is not what was deployed."""
    try:
        registry.load(config.prod_deployment, config.secrets.get("RISK_MODEL_KEY"))
    except MissingArtifactError:
        return False
    except ArtifactError:
        return True
    return False


def id_of(release_folder: str | None) -> str | None:
    """Give the id of a release by its folder."""
    return registry.release_id(release_folder) if release_folder else None


def describe_plan(config: Config, changes: Changes) -> str:
    """Describe what a run would do and why."""
    if not changes.reasons:
        return "nothing new: a run would end here\n"
    before, seen = changes.before, changes.seen
    lines = [f"why: {reason}" for reason in changes.reasons]
    lines += [f"would read {config.input_folder.name}/{name}" for name in changes.new_names]
    if changes.only_pending and before is not None and before.pending:
        lines.append(f"would run {', '.join(before.pending['steps'])}")
    elif seen.release is None:
        lines.append("would train, score and deploy: nothing is deployed yet")
    elif before is not None and before.row_key != seen.row_key:
        lines.append("would compile the table again, train, score and deploy")
    else:
        lines.append(f"would check the new rows for drift from release {id_of(seen.release)}")
        lines.append("would train, score and deploy if there is drift")
    if not changes.only_pending:
        lines.append("would run diagnostics and reporting")
    return "".join(f"{line}\n" for line in lines)
