"""Releases: swapped whole, verified byte by byte, revertible, and loaded from listed classes only."""

import json
import os
import pickle
import pickletools
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from makers import make_clients

import deployment
from risk import digests, files
from risk.errors import ArtifactError, MissingArtifactError, VersionError
from risk.model import pickling, pipeline, publishing, registry

ROOT = Path(__file__).resolve().parents[2]
FACTS = {"versions": {"scikit-learn": registry.installed_scikit_learn()}}


def make_files(text):
    return {name: f"{text} {name}".encode() for name in registry.NAMES}


def publish(folder, text, keep=3, key=None):
    return publishing.publish(folder, make_files(text), FACTS, keep=keep, key=key)


def test_a_release_is_seen_through_constant_links_in_a_real_folder(tmp_path):
    new_id = publish(tmp_path, "one")
    assert registry.load(tmp_path).id == new_id
    assert not tmp_path.is_symlink()
    for name in (*registry.NAMES, registry.MANIFEST):
        assert (tmp_path / name).readlink() == Path(f"..data/{name}")
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "trainedmodel.pkl").read_bytes() == b"one trainedmodel.pkl"


def test_the_same_files_and_facts_are_the_same_release(tmp_path):
    assert publish(tmp_path, "one") == publish(tmp_path, "one")
    assert len(registry.list_names(tmp_path)) == 1


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_exactly_so_many_releases_stay_as_the_config_says(tmp_path, keep):
    made = [publish(tmp_path, str(number), keep=keep) for number in range(5)]
    assert [registry.release_id(name) for name in registry.list_names(tmp_path)] == made[-keep:]
    assert registry.load(tmp_path).id == made[-1]


def test_a_release_published_again_after_others_is_not_pruned(tmp_path):
    first = publish(tmp_path, "0", keep=2)
    publish(tmp_path, "1", keep=2)
    assert publish(tmp_path, "0", keep=2) == first
    publish(tmp_path, "2", keep=2)
    assert registry.load(tmp_path).files["metrics.json"] == b"2 metrics.json"


def test_releases_keep_their_order_beyond_the_ten_thousandth(tmp_path):
    first = publish(tmp_path, "0")
    (name,) = registry.list_names(tmp_path)
    (tmp_path / name).rename(tmp_path / f"..r9999-{first}")
    publishing.switch(tmp_path, f"..r9999-{first}")
    made = [first, *(publish(tmp_path, str(number)) for number in (1, 2, 3))]
    names = registry.list_names(tmp_path)
    assert [registry.release_id(name) for name in names] == made[-3:]
    assert deployment.choose_rollback(names, names[-1], "") == names[-2]


@pytest.mark.parametrize("gone", ["..r0009-0123456789ab", "somewhere"])
def test_rollback_from_a_release_that_is_gone_goes_to_the_newest(tmp_path, gone):
    publish(tmp_path, "0")
    newest = publish(tmp_path, "1")
    names = registry.list_names(tmp_path)
    assert registry.release_id(deployment.choose_rollback(names, gone, "")) == newest


def test_what_is_no_release_is_left_alone(tmp_path):
    (tmp_path / "..r1x-mine").mkdir()
    (tmp_path / "notes").mkdir()
    publish(tmp_path, "0", keep=1)
    publish(tmp_path, "1", keep=1)
    assert len(registry.list_names(tmp_path)) == 1
    assert (tmp_path / "..r1x-mine").is_dir() and (tmp_path / "notes").is_dir()


def test_a_damaged_release_is_replaced_by_a_whole_copy_and_goes(tmp_path):
    made = publish(tmp_path, "0")
    damage_byte(tmp_path)
    assert publish(tmp_path, "0") == publish(tmp_path, "0") == made == registry.load(tmp_path).id
    assert [registry.release_id(name) for name in registry.list_names(tmp_path)] == [made]


def test_nothing_deployed_says_what_to_run(tmp_path):
    with pytest.raises(MissingArtifactError, match=r"run fullprocess\.py"):
        registry.load(tmp_path)


def damage_byte(folder):
    path = (folder / "metrics.json").resolve()
    path.chmod(0o644)
    path.write_bytes(b"X" + path.read_bytes()[1:])


def damage_manifest(folder):
    path = (folder / "manifest.json").resolve()
    path.chmod(0o644)
    path.write_text(path.read_text().replace("versions", "Versions"))


def damage_missing(folder):
    (folder / "latestscore.txt").resolve().unlink()


def damage_visible_copy(folder):
    data = (folder / "trainedmodel.pkl").read_bytes()
    (folder / "trainedmodel.pkl").unlink()
    (folder / "trainedmodel.pkl").write_bytes(data)


def damage_other_link(folder):
    (folder / "trainedmodel.pkl").unlink()
    (folder / "trainedmodel.pkl").symlink_to("/dev/null")


def damage_real_folder(folder):
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    shutil.rmtree(folder)
    copy.rename(folder)


def damage_link_inside(folder):
    path = (folder / "trainedmodel.pkl").resolve()
    path.unlink()
    path.symlink_to("/etc/hostname")


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        damage_byte,
        damage_manifest,
        damage_missing,
        damage_visible_copy,
        damage_other_link,
        damage_real_folder,
        damage_link_inside,
    ],
)
def test_damage_is_refused_with_the_command_that_mends_it(old_world, damage):
    first = old_world.tick()["release"]
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    old_world.tick()
    folder = old_world.root / "production_deployment"
    damage(folder)
    with pytest.raises(ArtifactError, match=r"deployment\.py"):
        registry.load(folder)
    if damage is damage_real_folder:
        shutil.rmtree(folder)
        assert old_world.run("deployment")["deployed"]
    else:
        assert old_world.run("deployment", "--rollback", first)["release"] == first
        assert registry.load(folder).id == first
    old_world.run("diagnostics")


def test_rollback_goes_one_back_or_to_the_one_named(old_world):
    made = [old_world.walk()["release"]]
    for seed in "cd":
        old_world.put(f"sourcedata/{seed}.csv", make_clients(60, seed))
        made.append(old_world.walk()["release"])
    assert old_world.run("deployment", "--rollback")["release"] == made[1]
    assert old_world.run("deployment", "--rollback")["release"] == made[0]
    old_world.run("deployment", "--rollback", expect=64)
    assert "no earlier release" in old_world.said
    assert old_world.run("deployment", "--rollback", made[2][:6])["release"] == made[2]
    old_world.run("deployment", "--rollback", "zzz", expect=64)
    assert made[0] in old_world.said
    listed = old_world.run("deployment", "--list")
    assert listed["release"] == made[2] and len(listed["releases"]) == 3


def test_a_list_that_is_only_shown_adds_no_line_of_facts_to_it(old_world):
    old_world.walk()
    log = old_world.root / "logs" / "pipeline.log"
    before = log.read_text()
    assert "INFO deployment: release=" in before
    for script, *arguments in (["deployment", "--list"], ["diagnostics", "--explain", "client-a-3"]):
        old_world.run(script, *arguments)
        assert log.read_text() == before
    old_world.run("deployment", "--list", "-v")
    assert "DEBUG deployment: release=" in log.read_text()


def test_a_score_of_another_model_is_refused(old_world):
    old_world.walk()
    old_world.put("sourcedata/c.csv", make_clients(60, "c"))
    old_world.run("ingestion")
    old_world.run("training")
    old_world.run("deployment", expect=65)
    assert "run scoring.py first" in old_world.said


@pytest.mark.parametrize(
    ("done", "said"),
    [
        ([], "run training.py first"),
        (["ingestion"], "run training.py first"),
        (["ingestion", "training"], "run scoring.py first"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_deployment_before_its_inputs_says_what_to_run(old_world, done, said):
    for script in done:
        old_world.run(script)
    old_world.run("deployment", expect=66)
    assert said in old_world.said
    assert not (old_world.root / "production_deployment").exists()


def test_the_same_inputs_give_the_same_release(old_world):
    first = old_world.walk()["release"]
    shutil.rmtree(old_world.root / "models")
    shutil.rmtree(old_world.root / "production_deployment")
    old_world.run("training")
    old_world.run("scoring")
    assert old_world.run("deployment")["release"] == first


# --- signed ------------------------------------------------------------------------------------------------


def test_a_signed_release_needs_its_key(tmp_path):
    publish(tmp_path, "one", key="right")
    assert registry.load(tmp_path, "right")
    with pytest.raises(ArtifactError, match="RISK_MODEL_KEY"):
        registry.load(tmp_path, "wrong")


def test_an_unsigned_release_is_refused_where_a_key_is_set(tmp_path):
    publish(tmp_path, "one")
    with pytest.raises(ArtifactError, match=r"manifest\.hmac"):
        registry.load(tmp_path, "key")


def test_the_key_of_the_environment_signs_what_is_deployed(old_world, monkeypatch):
    monkeypatch.setenv("RISK_MODEL_KEY", "right")
    release = old_world.walk()["release"]
    assert old_world.run("diagnostics")["predictions"]["release"] == release
    monkeypatch.setenv("RISK_MODEL_KEY", "wrong")
    old_world.run("diagnostics", expect=65)
    assert "is not signed with RISK_MODEL_KEY" in old_world.said and "wrong" not in old_world.said
    assert old_world.run("deployment")["release"] == release
    assert old_world.run("diagnostics")["predictions"]["release"] == release


# --- loading -----------------------------------------------------------------------------------------------


def load(data):
    return pickling.load_model(data, digests.sha256(data), Path("trainedmodel.pkl"))


class Evil:
    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call", [(os.system, ("touch owned",)), (eval, ("1+1",)), (getattr, ("text", "upper")), (exec, ("x=1",))]
)
def test_a_foreign_call_in_a_model_is_refused_before_it_runs(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match="which no model of this pipeline needs"):
        load(pickle.dumps(Evil(call)))
    assert list(tmp_path.iterdir()) == []


def test_a_module_reached_through_an_allowed_one_is_refused():
    data = b"csklearn.pipeline\nos.system\n(S'true'\ntR."
    with pytest.raises(ArtifactError, match="which no model of this pipeline needs"):
        load(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"no pickle",
        pickle.dumps({"a": 1})[:-3],
        b"\x80\x05\x8c\x02\xff\xfe.",  # text that is no UTF-8
        b"\x80\x05K\x01K\x01R.",  # a call of a number
        b"\x80\x05h\x07.",  # a memo that is not there
        b"\x80\x05\x82\x07.",  # an extension nobody registered
        b"\x80\x05\x8e" + b"\xff" * 8 + b".",  # longer than memory can be
    ],
)
def test_a_torn_model_says_how_it_is_mended(data):
    with pytest.raises(ArtifactError, match=r"run training\.py again"):
        load(data)


def test_another_digest_is_refused_before_unpickling():
    with pytest.raises(ArtifactError, match="is not the model"):
        pickling.load_model(pickle.dumps(Evil((os.system, ("false",)))), "0" * 64, Path("m"))


def test_another_scikit_learn_is_named(old_world):
    old_world.walk()
    folder = old_world.root / "production_deployment"
    release = registry.load(folder)
    other = release.manifest | {"versions": {"scikit-learn": "0.1"}}
    publishing.publish(folder, release.files, other, keep=3)
    with pytest.raises(VersionError, match=r"fitted with scikit-learn 0\.1"):
        registry.load_deployed(folder)
    old_world.run("diagnostics", expect=65)
    assert "the next run of fullprocess.py does it automatically" in old_world.said


def globals_of(data):
    """Name every class that a pickle asks for."""
    found, texts = set(), []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "STACK_GLOBAL":
            found.add((pickling.RENAMED.get(texts[-2], texts[-2]), texts[-1]))
        elif "UNICODE" in opcode.name:
            texts.append(argument)
    return found


TABLES = {
    "mixed": (["corporation", "activity", "colour", "exited"], lambda row: row),
    "wide": (
        ["corporation", "activity", "colour", *(f"colour{i}" for i in range(8)), "exited"],
        lambda row: [*row[:3], *([row[2]] * 8), row[3]],
    ),
    "numbers": (["corporation", "activity", "exited"], lambda row: [row[0], row[1], row[3]]),
    "words": (["corporation", "colour", "exited"], lambda row: [row[0], row[2], row[3]]),
    "skewed": (
        ["corporation", "activity", "exited"],
        lambda row: [row[0], row[1] and str(1.2 ** int(row[1])), row[3]],
    ),
    "full": (
        ["corporation", "activity", "colour", "exited"],
        lambda row: [row[0], row[1] or "5", "red", row[3]],
    ),
}
MODELS = [
    {"estimator": "auto"},
    {"estimator": "logistic_regression"},
    {"estimator": "hist_gradient_boosting"},
    {"estimator": "hist_gradient_boosting", "params": {"early_stopping": True, "max_features": 0.5}},
    {"estimator": "hist_gradient_boosting", "params": {"interaction_cst": "pairwise"}},
    {"estimator": "logistic_regression", "threshold": 0.3, "params": {"class_weight": "balanced"}},
    {"estimator": "logistic_regression", "params": {"solver": "liblinear"}},
]


@pytest.mark.slow
def test_the_list_holds_what_our_estimators_need_and_nothing_else(workspace):
    rows = make_clients(300, "a")
    for row in rows[::7]:
        row[1] = ""
    needed = set()
    for kind, (header, shape) in TABLES.items():
        workspace.put(f"{kind}/a.csv", [shape(row) for row in rows], header)
        workspace.configure(input_folder_path=kind)
        workspace.run("ingestion")
        for model in MODELS if kind == "mixed" else MODELS[1:4]:
            workspace.configure(model=model)
            workspace.run("training")
            data = (workspace.root / "models" / "trainedmodel.pkl").read_bytes()
            assert load(data).predict is not None
            needed |= globals_of(data)
    needed |= globals_of(fit_with_everything_inside())
    assert needed <= pickling.ALLOWED
    assert pickling.ALLOWED - needed == set()


def fit_with_everything_inside():
    """Fit a calibrated model on a log scale, which no table above needs."""
    draw = np.random.default_rng(0)
    X = pd.DataFrame({"spend": draw.lognormal(size=200)})
    recipe = pipeline.Recipe("logistic_regression", ("spend",), (), logged=("spend",), calibrated=True)
    model = pipeline.make_model(recipe, threshold=0.5).fit(X, draw.integers(0, 2, 200))
    return pickling.render_model(model)


# --- killed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        "publishing.write_synced = die",
        "publishing.sync_folder = die",
        "Path.rename = die",
        "os.replace = die",
    ],
)
def test_killed_while_it_publishes_the_old_release_is_served_and_the_next_run_ends_well(tmp_path, fault):
    folder = tmp_path / "production"
    old = publish(folder, "old")
    run_to_death(folder, "new", fault)
    assert registry.load(folder).id == old
    files.sweep(folder)
    new = publish(folder, "new")
    assert registry.load(folder).id == new and new != old
    assert {registry.release_id(name) for name in registry.list_names(folder)} == {old, new}


def run_to_death(folder, text, fault):
    """Publish in a process that is killed where `fault` calls `die`."""
    code = f"""
import os, shutil, signal, sys
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests/support")!r}, {str(ROOT / "tests/pipeline")!r}]
import test_releases as t
from risk.model import publishing
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
{fault}
t.publish(Path({str(folder)!r}), {text!r}, keep=2)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


IN_THE_MIDDLE_OF_PRUNING = """
real = shutil.rmtree
def torn(path, **options):
    if not options:
        (Path(path) / "metrics.json").unlink()
        die()
    real(path, **options)
shutil.rmtree = torn
"""


def test_killed_while_it_prunes_the_new_release_is_served_and_no_torn_one_is_listed(tmp_path):
    folder = tmp_path / "production"
    _, kept = publish(folder, "0", keep=2), publish(folder, "1", keep=2)
    run_to_death(folder, "2", IN_THE_MIDDLE_OF_PRUNING)
    served = registry.load(folder)
    assert served.files["metrics.json"] == b"2 metrics.json"
    names = registry.list_names(folder)
    assert [registry.read(folder, name).id for name in names] == [kept, served.id]
    files.sweep(folder)
    assert not list(folder.glob(f"{files.TEMPORARY}*"))


@pytest.mark.parametrize("fault", ["publishing.write_synced = die", "Path.rename = die", "os.replace = die"])
def test_killed_in_the_first_deployment_nothing_is_deployed_and_the_next_run_ends_well(tmp_path, fault):
    run_to_death(tmp_path, "0", fault)
    with pytest.raises(MissingArtifactError, match="nothing is deployed yet"):
        registry.load(tmp_path)
    files.sweep(tmp_path)
    assert publish(tmp_path, "0") == registry.load(tmp_path).id
    assert len(registry.list_names(tmp_path)) == 1


@pytest.mark.parametrize("keep", [1, 2])
def test_a_reader_that_is_overtaken_reads_the_release_that_overtook_it(tmp_path, monkeypatch, keep):
    publish(tmp_path, "0", keep=keep)
    real, later = os.open, iter("12")

    def overtaken(path, *arguments, **options):
        if path == "latestscore.txt":
            for text in later:
                publish(tmp_path, text, keep=keep)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", overtaken)
    release = registry.load(tmp_path)
    assert {data.split()[0] for data in release.files.values()} == {b"2"}


def test_a_reader_never_sees_two_releases_mixed(tmp_path):
    publish(tmp_path, "a")
    for number in range(30):
        publish(tmp_path, "ab"[number % 2])
        release = registry.load(tmp_path)
        assert len({data.split()[0] for data in release.files.values()}) == 1
        assert json.loads((tmp_path / "manifest.json").read_text()) == release.manifest


# --- who may write -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["production_deployment", "models", "."])
def test_a_folder_that_every_user_may_write_is_warned_about_with_the_remedy(old_world, where):
    old_world.walk()
    assert old_world.run("training") and "every user" not in old_world.said
    folder = (old_world.root / where).resolve()
    folder.chmod(0o777)
    old_world.run("deployment")
    assert f"WARNING security: {folder}: every user may write here" in old_world.said
    assert f"chmod o-w {folder}" in old_world.said
    folder.chmod(0o755)


def test_a_folder_above_counts_unless_what_lies_in_it_cannot_be_moved(tmp_path):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (tmp_path / "a").chmod(0o777)
    assert registry.find_writable_by_all([folder, folder]) == [tmp_path / "a"]
    (tmp_path / "a").chmod(0o1777)
    assert registry.find_writable_by_all([folder]) == []
    folder.chmod(0o1777)
    assert registry.find_writable_by_all([folder, tmp_path / "none"]) == [folder]


def test_idle_ticks_do_not_repeat_the_warning(old_world):
    old_world.tick()
    old_world.root.chmod(0o777)
    old_world.tick()
    assert old_world.said == ""
    old_world.put("sourcedata/c.csv", make_clients(50, "c"))
    old_world.tick()
    assert "every user may write here" in old_world.said
    old_world.root.chmod(0o755)


# --- a good one in place of a damaged one ------------------------------------------------------------------


def load_good(folder, key=None):
    release, damage = registry.load_good(folder, key, lambda release: release)
    return release.id, damage


def test_the_newest_good_release_below_the_deployed_one_is_loaded_and_none_above(tmp_path):
    first, second, third, fourth = (publish(tmp_path, text, keep=9) for text in "1234")
    by_id = {registry.release_id(name): name for name in registry.list_names(tmp_path)}
    assert load_good(tmp_path) == (fourth, None)
    publishing.switch(tmp_path, by_id[third])
    damage_byte(tmp_path)
    found, damage = load_good(tmp_path)
    assert found == second and "was changed after deployment" in damage
    publishing.switch(tmp_path, by_id[second])
    damage_byte(tmp_path)
    assert load_good(tmp_path)[0] == first
    publishing.switch(tmp_path, by_id[first])
    damage_byte(tmp_path)
    with pytest.raises(ArtifactError, match="was changed after deployment"):
        load_good(tmp_path)


def test_an_unsigned_release_takes_no_place_where_a_key_is_set(tmp_path):
    publish(tmp_path, "unsigned")
    publish(tmp_path, "signed", key="key")
    damage_byte(tmp_path)
    assert load_good(tmp_path)[1] is not None
    with pytest.raises(ArtifactError):
        load_good(tmp_path, "key")


def test_a_rollback_passes_over_a_damaged_release(old_world):
    made = [old_world.walk()["release"]]
    for seed in "cd":
        old_world.put(f"sourcedata/{seed}.csv", make_clients(60, seed))
        made.append(old_world.walk()["release"])
    folder = old_world.root / "production_deployment"
    path = folder / registry.list_names(folder)[1] / "metrics.json"
    path.chmod(0o644)
    path.write_bytes(b"{}")
    assert old_world.run("deployment", "--rollback")["release"] == made[0]


def test_mending_points_the_links_to_what_is_good(tmp_path):
    first, _ = publish(tmp_path, "1"), publish(tmp_path, "2")
    damage_byte(tmp_path)
    release, damage = publishing.mend(tmp_path)
    assert release.id == first and damage
    assert registry.load(tmp_path).id == first
    assert publishing.mend(tmp_path)[1] is None
