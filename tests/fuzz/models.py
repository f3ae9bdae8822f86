"""Is a model file that is not the one deployed ever unpickled?

An audit hook sees every class that a pickle asks for, and every command that is run. The control takes
the digest away: the same files, unpickled by the allow-list alone, then predict something else, raise
whatever they like, or kill the process.
"""

import csv
import faulthandler
import io
import json
import os
import pickle
import random
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from csvs import HEADER, KEYS, is_good, make_rows

import deployment
import ingestion
import scoring
import training
from config import load_config
from risk.data.frames import to_frame
from risk.data.schema import Schema
from risk.digests import sha256
from risk.errors import ArtifactError, VersionError
from risk.model import pickling, publishing, registry

SEEN = []
WATCHED = {
    "pickle.find_class",
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "exec",
    "compile",
}
MODEL = "trainedmodel.pkl"
_hooked = []


def watch():
    """Note from now on what pickles ask for; a hook of the interpreter cannot be taken out again."""
    if not _hooked:
        _hooked.append(True)
        sys.addaudithook(lambda event, arguments: event in WATCHED and SEEN.append((event, arguments)))
    SEEN.clear()


def deploy(root, estimator):
    """Make a workspace with a deployed model."""
    (root / "in").mkdir(parents=True)
    (root / "test").mkdir()
    (root / "config.json").write_text(json.dumps(KEYS | {"model": {"estimator": estimator}}))
    draw = random.Random(1)
    for name, n in (("in/a.csv", 300), ("test/t.csv", 200)):
        rows = [row for row in make_rows(draw, n) if is_good(dict(zip(HEADER, row, strict=True)))]
        with (root / name).open("w", newline="") as handle:
            csv.writer(handle, lineterminator="\n").writerows([HEADER, *rows])
    config = load_config(root / "config.json")
    for stage in (ingestion, training, scoring, deployment):
        stage.run(config)
    return config


def mutate(draw, data):
    """Change one to four bytes, or cut, double or cut out a piece."""
    while True:
        changed = bytearray(data)
        kind = draw.randrange(10)
        if kind < 7:
            for _ in range(draw.choice([1, 1, 2, 4])):
                changed[draw.randrange(len(data))] = draw.randrange(256)
        else:
            a, b = sorted(draw.randrange(len(data) + 1) for _ in "ab")
            changed = [data[:a], data[:a] + data[b:], data[:b] + data[a:]][kind - 7]
        if bytes(changed) != data:
            return bytes(changed)


def load_refused(folder, key=None, error=ArtifactError):
    """Load what must be refused, and say whether a pickle was looked into on the way."""
    SEEN.clear()
    try:
        registry.load_deployed(folder, key)
    except error as refusal:
        assert "run " in str(refusal), refusal
        return [seen for seen in SEEN if seen[0] in WATCHED]
    raise AssertionError("a file that is not the deployed one was loaded")


def throw_mutants(config, n, draw):
    """Put mutated files in place of those of the release, one at a time."""
    folder, counts = config.prod_deployment, Counter()
    names = [MODEL] * 16 + ["modelcard.json", "manifest.json", "metrics.json", "latestscore.txt"]
    for _ in range(n):
        name = draw.choice(names)
        path = (folder / name).resolve()
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(mutate(draw, data))
        assert load_refused(folder) == [], name
        path.write_bytes(data)
        counts["mutated models" if name == MODEL else "mutated companions"] += 1
    assert registry.load_deployed(folder)[1] is not None
    return counts


# --- pickles with intent -----------------------------------------------------------------------------------


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def make_hostile(marker):
    """Make pickles that would leave a mark, each in its own way."""
    write = f"open({str(marker)!r}, 'w').close()"
    return {
        "malicious: a shell": pickle.dumps(Call(os.system, f"touch {marker}")),
        "malicious: eval": pickle.dumps(Call(eval, write)),
        "malicious: exec, protocol 0": pickle.dumps(Call(exec, write), protocol=0),
        "self-whitelisting: the list": (
            b"crisk.unpickling\nALLOWED\np0\n(cbuiltins\ngetattr\n(g0\nS'union'\ntR(lp1\nS'os.system'\natR."
        ),
        "self-whitelisting: find_class": (
            b"crisk.unpickling\nUnpickler.find_class\n(NS'os'\nS'system'\ntR(S'touch "
            + str(marker).encode()
            + b"'\ntR."
        ),
        "self-whitelisting: a new name": (
            b"crisk.unpickling\n__dict__\n(S'ALLOWED'\n(lp0\ndS'x'\n(cos\nsystem\n(S'touch "
            + str(marker).encode()
            + b"'\ntRs."
        ),
        "through an allowed module": (
            b"csklearn.pipeline\nos.system\n(S'touch " + str(marker).encode() + b"'\ntR."
        ),
        "an extension code": b"\x80\x02\x82\x01.",
        "a persistent name": b"\x80\x02X\x01\x00\x00\x00aQ.",
    }


def plant(folder, data, *, versions, key=None):
    """Deploy a pickle whose digests, card and manifest all agree: what somebody could who may write here."""
    release = registry.load(folder)
    card = release.json("modelcard.json") | {"model_sha256": sha256(data)}
    files = release.files | {MODEL: data, "modelcard.json": json.dumps(card).encode()}
    publishing.publish(folder, files, release.manifest | {"versions": versions}, keep=1000, key=key)


def throw_hostile(config, marker):
    """Plant each hostile pickle without its digest, with it, with another version, and unsigned."""
    folder, counts = config.prod_deployment, Counter()
    good, versions = registry.current(folder), {"scikit-learn": registry.installed_scikit_learn()}
    for name, data in make_hostile(marker).items():
        path = (folder / MODEL).resolve()
        whole = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data)
        assert load_refused(folder) == [], name
        path.write_bytes(whole)
        plant(folder, data, versions=versions)
        assert load_refused(folder) == [], name
        assert load_refused(folder, key="key") == [], name
        publishing.switch(folder, good)
        plant(folder, data, versions={"scikit-learn": "0.1"})
        assert load_refused(folder, error=VersionError) == [], name
        publishing.switch(folder, good)
        assert not marker.exists(), name
        counts["hostile pickles, planted in four ways"] += 1
    return counts


# --- the control -------------------------------------------------------------------------------------------


def control(config, n, draw):
    """Unpickle mutants without asking for their digest, in children: what would become of them."""
    release, model = registry.load_deployed(config.prod_deployment)
    schema = Schema.from_json(release.json("modelcard.json")["schema"])
    frame = to_frame([{"activity": str(i), "colour": "red"} for i in range(0, 100, 5)], schema)
    wanted = model.predict_proba(frame)
    counts = Counter()
    for _ in range(n):
        data = mutate(draw, release.files[MODEL])
        counts[f"control {_fate(data, frame, wanted)}"] += 1
    return counts


FATES = ("refused by the list", "raised something", "predicted the same", "predicted something else")


def _fate(data, frame, wanted):
    child = os.fork()
    if child == 0:
        fate = 1
        signal.alarm(20)
        faulthandler.disable()  # a crash is an answer here, and nobody's trouble
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            found = pickling.Unpickler(io.BytesIO(data)).load().predict_proba(frame)
            fate = 2 if np.array_equal(found, wanted) else 3
        except ArtifactError:
            fate = 0
        finally:
            os._exit(fate)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "hung" if os.WTERMSIG(status) == signal.SIGALRM else "killed the process"
    return FATES[os.WEXITSTATUS(status)]


def run(n, seed=0):
    """Throw `n` mutated files and every hostile pickle at two deployed models, a part at the control."""
    draw, total = random.Random(seed), Counter()
    watch()
    with tempfile.TemporaryDirectory() as root:
        for estimator, share in (("logistic_regression", 0.7), ("hist_gradient_boosting", 0.3)):
            config = deploy(Path(root) / estimator, estimator)
            total += throw_hostile(config, Path(root) / "owned")
            total += throw_mutants(config, round(n * share), draw)
            total += control(config, max(round(n * share) // 10, 40), draw)
    assert total["control raised something"], total
    assert sum(
        total[f"control {fate}"] for fate in ("predicted something else", "killed the process", "hung")
    )
    return total
