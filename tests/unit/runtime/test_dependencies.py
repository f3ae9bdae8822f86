"""The dependency table: from the user's own index, kept for a day, never waited for."""

import http.server
import json
import os
import threading
import time
from contextlib import contextmanager

import pytest

from risk.runtime import dependencies

FAKE_PIP = """
import os, pathlib, sys, threading
if sys.argv[-1] == os.environ["STUCK"]:
    pathlib.Path(os.environ["NOTE"]).write_text(str(os.getpid()))
    threading.Event().wait()
print(sys.argv[-1], "(7.7)")
"""
PAGE = '<a href="{0}-1.0.tar.gz">x</a><a href="{0}-9.9.tar.gz">x</a>'


@contextmanager
def serve_index(answer):
    """Serve a package index of our own on loopback, and collect who asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            answer(self)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join()


def give_page(request):
    body = PAGE.format(request.path.strip("/").split("/")[-1]).encode()
    request.send_response(200)
    request.send_header("Content-Type", "text/html")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@pytest.fixture
def asking(tmp_path, monkeypatch):
    """Requirements of two packages, and a pip that knows no index but ours."""
    (tmp_path / "requirements.txt").write_text("# ours\npytest>=8,<9\nno-such-package>=1\n")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return tmp_path


def listed(folder, **options):
    return dependencies.list_packages(folder / "requirements.txt", folder / "cache.json", **options)[0]


def test_names_are_read_without_versions_and_comments(asking):
    assert dependencies.read_names(asking / "requirements.txt") == ["pytest", "no-such-package"]


def test_the_latest_version_is_that_of_the_users_own_index(asking, monkeypatch):
    with serve_index(give_page) as (port, asked):
        monkeypatch.setenv("PIP_INDEX_URL", f"http://me:secret@127.0.0.1:{port}/simple/")
        found = listed(asking, budget_s=60)
        assert found[0] == {"module": "pytest", "installed": pytest.__version__, "latest": "9.9"}
        assert found[1] == {"module": "no-such-package", "installed": "not installed", "latest": "9.9"}
        n_asked = len(asked)
        assert listed(asking) == found and len(asked) == n_asked, "answers are kept for a day"
    assert "secret" not in (asking / "cache.json").read_text()


def test_an_index_that_is_not_there_is_unknown_and_asked_again_after_an_hour(asking, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple/")
    found = listed(asking, budget_s=60)
    assert [entry["latest"] for entry in found] == ["unknown", "unknown"]
    now = time.time()
    kept = json.loads((asking / "cache.json").read_text())
    assert dependencies.is_fresh(kept["pytest"], now)
    assert not dependencies.is_fresh(kept["pytest"], now + 3601)


def test_an_index_that_never_answers_costs_no_more_than_the_budget(asking, monkeypatch):
    release = threading.Event()
    with serve_index(lambda _: release.wait(60)) as (port, _):
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple/")
        started = time.monotonic()
        found = listed(asking, budget_s=2)
        took_s = time.monotonic() - started
        release.set()
    assert [entry["latest"] for entry in found] == ["unknown", "unknown"]
    assert took_s < 10


def test_a_package_that_the_index_lacks_is_asked_for_again_after_an_hour_not_at_once(asking, monkeypatch):
    def give_all_but_one(request):
        if "no-such" in request.path:
            request.send_error(404)
        else:
            give_page(request)

    with serve_index(give_all_but_one) as (port, asked):
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple/")
        assert [entry["latest"] for entry in listed(asking, budget_s=60)] == ["9.9", "unknown"]
        n_asked = len(asked)
        assert [entry["latest"] for entry in listed(asking, budget_s=60)] == ["9.9", "unknown"]
        assert len(asked) == n_asked


def test_what_ran_out_of_time_is_asked_for_at_the_next_run(asking, monkeypatch):
    answer = {"latest": "8.8", "at": time.time()}
    (asking / "cache.json").write_text(json.dumps({"pytest": answer}))
    (asking / "requirements.txt").write_text("pytest\nno-such-package\nother-package\n")
    (asking / "pip.py").write_text(FAKE_PIP)
    for name, value in (("PYTHONPATH", asking), ("STUCK", "other-package"), ("NOTE", asking / "pid")):
        monkeypatch.setenv(name, str(value))
    assert [entry["latest"] for entry in listed(asking, budget_s=2)] == ["8.8", "7.7", "unknown"]
    kept = json.loads((asking / "cache.json").read_text())
    assert set(kept) == {"pytest", "no-such-package"}
    with pytest.raises(ProcessLookupError):
        os.kill(int((asking / "pid").read_text()), 0)


def test_without_pip_every_latest_is_unknown(asking, monkeypatch):
    (asking / "pip.py").write_text("raise ImportError('no pip here')\n")
    monkeypatch.setenv("PYTHONPATH", str(asking))
    assert [entry["latest"] for entry in listed(asking, budget_s=60)] == ["unknown", "unknown"]


@pytest.mark.parametrize("loudness", ["PIP_QUIET", "PIP_VERBOSE"])
def test_a_pip_that_is_set_quiet_or_loud_is_understood(asking, monkeypatch, loudness):
    (asking / "requirements.txt").write_text("pytest\n")
    with serve_index(give_page) as (port, _):
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple/")
        monkeypatch.setenv(loudness, "1")
        assert listed(asking, budget_s=60)[0]["latest"] == "9.9"


@pytest.mark.parametrize(
    ("latest", "age_s", "fresh"),
    [
        ("1.0", 86_399, True),
        ("1.0", 86_401, False),
        ("unknown", 3_599, True),
        ("unknown", 3_601, False),
        ("1.0", -9, False),
    ],
)
def test_how_long_an_answer_counts(latest, age_s, fresh):
    assert dependencies.is_fresh({"latest": latest, "at": 1e9}, 1e9 + age_s) is fresh


@pytest.mark.parametrize(
    "damaged",
    [
        '{"pytest": 5',
        "[]",
        "\\xff",
        '{"pytest": 5}',
        '{"pytest": {"latest": "1"}}',
        '{"pytest": {"latest": "1", "at": "today"}}',
        '{"pytest": {"latest": "1", "at": NaN}}',
        '{"pytest": {"latest": ["1"], "at": 2}}',
    ],
)
def test_a_damaged_cache_is_no_cache(asking, damaged):
    (asking / "cache.json").write_text(damaged)
    assert dependencies.read_cache(asking / "cache.json") == {}
    assert [entry["latest"] for entry in listed(asking, budget_s=0)] == ["unknown", "unknown"]


def test_a_cache_that_is_whole_in_part_counts_in_part(tmp_path):
    (tmp_path / "cache.json").write_text('{"pytest": 5, "a": {"latest": "1", "at": 2}}')
    assert dependencies.read_cache(tmp_path / "cache.json") == {"a": {"latest": "1", "at": 2}}
