"""Real database servers for the tests: one that runs already, or one of our own in a temporary folder.

Run as a script it prints, for a shell, the URLs of servers that answer on this machine.
"""

import contextlib
import getpass
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

KINDS = ("sqlite", "mariadb", "postgresql")
VARIABLES = {"mariadb": "RISK_TEST_MYSQL_URL", "postgresql": "RISK_TEST_POSTGRES_URL"}
USUAL = {
    "mariadb": "mysql+mysqlconnector://root@127.0.0.1:3306/test",
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:5432/test",
}
PACKAGES = {"mariadb": "mariadb-server", "postgresql": "postgresql"}
_NUMBER = itertools.count()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url):
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return connection.scalar(sa.text("select 1")) == 1
    except (sa.exc.SQLAlchemyError, ImportError):
        return False


class Server:
    """A server that runs already; nobody stops it."""

    def __init__(self, kind, url):
        self.kind, self.url = kind, url

    @contextlib.contextmanager
    def fresh_database(self):
        """Make an empty database, and drop it afterwards."""
        name = f"risk_test_{os.getpid()}_{next(_NUMBER)}"
        # An old default of the server: tables must say utf8mb4 themselves.
        options = " character set latin1" if self.kind == "mariadb" else ""
        self.execute(f"create database {name}{options}")
        try:
            yield str(sa.make_url(self.url).set(database=name).render_as_string(hide_password=False))
        finally:
            force = " with (force)" if self.kind == "postgresql" else ""
            self.execute(f"drop database {name}{force}")

    def execute(self, statement):
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(statement))


class OwnServer(Server):
    """A server of our own from Debian's packages, on loopback; it can be stopped, frozen and started.

    It never waits for the disk: what it has written outlives a killed process, if not a power cut.
    """

    def __init__(self, kind):
        self.kind, self.port, self.process = kind, free_port(), None
        self.folder = Path(tempfile.mkdtemp(prefix=f"risk-test-{kind}-"))
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        user = "postgres" if kind == "postgresql" else "root"
        driver = USUAL[kind].partition("://")[0]
        database = "postgres" if kind == "postgresql" else "mysql"
        self.url = f"{driver}://{user}@127.0.0.1:{self.port}/{database}"
        self.as_user = ["setpriv", "--pdeathsig", "KILL"]
        if os.geteuid() == 0 and kind == "postgresql":  # it refuses to run as root
            shutil.chown(self.folder, "postgres", "postgres")
            self.as_user += ["--reuid", "postgres", "--regid", "postgres", "--init-groups"]
        self._make()
        self.start()

    def _make(self):
        if self.kind == "postgresql":
            command = [find("initdb"), "-D", self.data, "-A", "trust", "-U", "postgres", "--no-sync"]
            command += ["-E", "UTF8", "--locale", "C"]
        else:
            command = [find("mariadb-install-db"), "--no-defaults", f"--datadir={self.data}"]
            command += ["--auth-root-authentication-method=normal", "--skip-test-db"]
            command += [f"--user={getpass.getuser()}", "--debug-no-sync"]
        with self.log.open("ab") as log:
            subprocess.run([*self.as_user, *command], stdout=log, stderr=log, cwd=self.folder, check=True)
        if self.kind == "postgresql":  # one user who needs a password, all others are trusted
            rules = ("host all risk 127.0.0.1/32 scram-sha-256", "host all all 127.0.0.1/32 trust")
            (self.data / "pg_hba.conf").write_text("".join(f"{rule}\n" for rule in rules))

    def start(self):
        if self.kind == "postgresql":
            command = [find("postgres"), "-D", self.data, "-p", str(self.port), "-c", "fsync=off"]
            command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        else:
            command = [find("mariadbd"), "--no-defaults", f"--datadir={self.data}", f"--port={self.port}"]
            command += ["--bind-address=127.0.0.1", f"--socket={self.folder}/socket"]
            command += [f"--pid-file={self.folder}/pid", f"--user={getpass.getuser()}", "--debug-no-sync"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.as_user, *command], stdout=log, stderr=log, cwd=self.folder
            )
        deadline = time.monotonic() + 60
        while not answers(self.url):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def stop(self):
        """Kill it, as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + 30
        while answers(self.url):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def freeze(self):
        """Let it accept connections and never answer."""
        self._signal(signal.SIGSTOP)

    def thaw(self):
        self._signal(signal.SIGCONT)

    def _signal(self, number):
        """Signal the server and, of PostgreSQL, the process that serves each connection."""
        own = self.process.pid
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
            for pid in (own, *map(int, children)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def remove(self):
        self.thaw()
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def find(program):
    """Find a program of a server, also where Debian keeps those of PostgreSQL."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return str(debian[-1]) if debian else found


def can_start(kind):
    programs = ("initdb", "postgres") if kind == "postgresql" else ("mariadb-install-db", "mariadbd")
    return all(find(program) for program in (*programs, "setpriv"))


def find_server(kind, *, own=False):
    """Give a server, of our own where it will be stopped, or the reason why there is none."""
    url = os.environ.get(VARIABLES[kind])
    if url and not own:
        return Server(kind, url)
    if can_start(kind):
        return OwnServer(kind)
    remedy = "" if own else f"set {VARIABLES[kind]}, or "
    return f"no {kind}: {remedy}install Debian's package {PACKAGES[kind]}"


if __name__ == "__main__":
    for server, address in USUAL.items():
        if answers(address):
            print(f"export {VARIABLES[server]}='{address}'")
