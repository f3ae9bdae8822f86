"""What all tests share; nothing heavy is imported before a test asks for it."""

import os
import shutil

# Boosting on two threads waits in spins, and on a busy machine for minutes; the stages take one, too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

# How long an example takes is a matter of what else the machine does. The same tree gets the same
# verdict: examples are drawn anew only where new ones are looked for (`make torture`).
hypothesis.settings.register_profile(
    "busy machine",
    deadline=None,
    derandomize="RISK_NEW_EXAMPLES" not in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("busy machine")
KINDS = ("sqlite", "mariadb", "postgresql")


@pytest.fixture
def one_thread():
    """As in training: boosting on two threads of a busy machine may take minutes."""
    import sklearn.ensemble  # noqa: F401  (its thread pool must be there before it can be limited)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@pytest.fixture
def workspace(tmp_path, capsys):
    """A workspace with two files of the old world and test data of it."""
    from workspaces import Workspace

    return Workspace(tmp_path / "workspace", capsys)


@pytest.fixture
def old_world(workspace):
    from makers import make_clients

    workspace.put("sourcedata/a.csv", make_clients(150, "a"))
    workspace.put("sourcedata/b.csv", make_clients(150, "b"))
    workspace.put("testdata/t.csv", make_clients(200, "t"))
    return workspace


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """A workspace in which a model is deployed; tests that change it take a copy."""
    from api_kit import make_workspace

    return make_workspace(tmp_path_factory.mktemp("served"))


@pytest.fixture
def copy(served, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(served, root, symlinks=True)
    return root


def pytest_sessionfinish(session, exitstatus):
    """Where RISK_NO_SKIPS is set, a skipped test is a failure: CI must not be green by leaving out.

    But for what needs file systems of its own, and a container may forbid to mount.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    avoidable = [report for report in skipped if "not permitted here: " not in str(report.longrepr)]
    if os.environ.get("RISK_NO_SKIPS") and avoidable:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def servers():
    """The database servers of this run by kind, started when first asked for."""
    from servers import VARIABLES, OwnServer, find_server

    found = {}

    def get(kind, *, own=False):
        own = own or VARIABLES[kind] not in os.environ  # one server of our own does for both
        name = (kind, own)
        if name not in found:
            found[name] = find_server(kind, own=own)
        if isinstance(found[name], str):
            pytest.skip(found[name])
        return found[name]

    yield get
    for server in found.values():
        if isinstance(server, OwnServer):
            server.remove()


@pytest.fixture(params=KINDS)
def database_url(request, tmp_path, servers):
    """The URL of an empty database, once for each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'records.db'}"
    else:
        with servers(request.param).fresh_database() as url:
            yield url


@pytest.fixture(params=KINDS[1:])
def own_server(request, servers):
    """A server that a test may stop; it runs again afterwards."""
    server = servers(request.param, own=True)
    yield server
    server.thaw()
    if server.process.poll() is not None:
        server.start()
