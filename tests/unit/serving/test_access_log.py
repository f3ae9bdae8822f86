"""The log of requests: one file, several processes, bounded."""

import logging
import multiprocessing
import shutil

import pytest

from risk.serving import access_log


@pytest.fixture
def log(tmp_path):
    """A file to which requests may be logged until the test ends."""
    yield tmp_path / "logs" / "api.log"
    for logger in (access_log.LOG, logging.getLogger("risk")):
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


def test_a_request_is_a_line_and_says_nothing_on_a_screen(log, capsys):
    access_log.set_up(log, interactive=False)
    access_log.log_request("POST", "/prediction", 200, 1.26)
    assert log.read_text().endswith("INFO app: method=POST route=/prediction status=200 duration_ms=1.3\n")
    assert capsys.readouterr() == ("", "")


def test_what_else_is_said_goes_there_too(log, capsys):
    access_log.set_up(log, interactive=False)
    logging.getLogger("risk.app").error("an earlier release is served")
    assert "ERROR app: an earlier release is served" in log.read_text()
    assert capsys.readouterr().err == "ERROR app: an earlier release is served\n"


def test_a_log_that_cannot_be_written_stops_nothing_and_goes_on_when_it_can(log, capsys):
    access_log.set_up(log, interactive=False)
    shutil.rmtree(log.parent)
    access_log.log_request("GET", "/health", 200, 1.0)
    log.parent.mkdir()
    access_log.log_request("GET", "/ready", 200, 1.0)
    log.unlink()
    log.symlink_to("/dev/full")
    access_log.log_request("GET", "/scoring", 200, 1.0)
    assert capsys.readouterr() == ("", "")
    log.unlink()
    access_log.log_request("GET", "/metrics", 200, 1.0)
    assert "route=/metrics" in log.read_text()


def test_a_bug_keeps_its_traceback_and_loses_its_text(log, capsys):
    access_log.set_up(log, interactive=False)
    name = "a client's name"
    try:
        {}[name]
    except KeyError as error:
        access_log.note_bug("GET /health", error)
    said = capsys.readouterr().err
    assert said.startswith("ERROR app: GET /health: internal error: KeyError\n")
    assert "test_access_log.py" in said and "a client's name" not in said.replace(
        '{}["a client\'s name"]', ""
    )
    assert "internal error" in log.read_text()


def write_many(path, n):
    access_log.set_up(path, interactive=False)
    for number in range(n):
        access_log.log_request("GET", "/health", 200, number)


def test_a_full_log_is_put_aside_once_by_whichever_process_finds_it(log, monkeypatch):
    monkeypatch.setattr(access_log, "MOST_BYTES", 20_000)
    writers = [
        multiprocessing.get_context("fork").Process(target=write_many, args=(log, 500)) for _ in range(3)
    ]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
        assert one.exitcode == 0
    files = sorted(log.parent.iterdir())
    assert [path.name for path in files] == ["api.log", "api.log.1"]
    for path in files:
        lines = path.read_text().splitlines()
        assert all(line.count("method=") == 1 and "duration_ms=" in line for line in lines)
        assert path.stat().st_size < 2 * 20_000


def test_a_folder_that_cannot_be_written_is_said_and_stops_nothing(log, capsys):
    log.parent.write_text("a file")
    access_log.set_up(log, interactive=False)
    assert "requests are not logged" in capsys.readouterr().err
