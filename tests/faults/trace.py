"""What does a program change on disk? Its system calls say, those of libraries in C too."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "?open,?openat,?creat,?write,?pwrite64,?writev,?pwritev,?pwritev2,?rename,?renameat,?renameat2,?unlink,"
    "?unlinkat,?rmdir,?mkdir,?mkdirat,?symlink,?symlinkat,?link,?linkat,?truncate,?ftruncate,?fallocate,"
    "?chmod,?fchmod,?fchmodat,?fchmodat2,?chown,?fchown,?lchown,?fchownat,?utimensat,?utime,?utimes,"
    "?futimesat,?copy_file_range,?sendfile,?splice,?mknod,?mknodat,?setxattr,?fsetxattr,?lsetxattr,?mmap"
)
ON_DESCRIPTORS = {
    "write": 0, "pwrite64": 0, "writev": 0, "pwritev": 0, "pwritev2": 0, "ftruncate": 0, "fallocate": 0,
    "fchmod": 0, "fchown": 0, "fsetxattr": 0, "mmap": 0, "sendfile": 0, "copy_file_range": 1, "splice": 1,
}  # fmt: skip
HARMLESS = re.compile(r"/dev/(null|tty|shm/.*)|(pipe|socket|anon_inode|memfd):.*|/proc/self/.*")
_LINE = re.compile(r"(\w+)\((.*)\)\s+= (-?[0-9a-fx]+)(?:<.*>)?(?: .*)?$")
_DESCRIPTOR = re.compile(r"(?:\d+|AT_FDCWD)<((?:[^>\\]|\\.)*)>")
_ADDRESS = re.compile(r'(?:inet_addr|inet_pton)\((?:AF_INET6, )?"([^"]+)"')
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Change:
    """One call that changed a file or a folder; `paths` are (from, to) where it has two."""

    call: str
    paths: tuple[str, ...]
    flags: str = ""


def why_not() -> str | None:
    """Say why nothing can be traced here, or None."""
    if shutil.which("strace") is None:
        return "strace is not installed; it is in Debian's package strace"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return f"strace may not trace here: {done.stderr.strip()}" if done.returncode else None


def run(command: list[str], folder: Path, **options) -> tuple[int, list[Change]]:
    """Run a command and return its exit code with everything that it and its threads changed."""
    folder.mkdir()
    traced = ["strace", "-ff", "-y", "-e", "signal=none", "-e", f"trace={CALLS}"]
    done = subprocess.run(
        [*traced, "-o", folder / "calls", "--", *map(str, command)], check=False, timeout=300, **options
    )
    changes = [change for path in sorted(folder.iterdir()) for change in read(path)]
    return done.returncode, changes


def peers(command: list[str], folder: Path, **options) -> list[str]:
    """Run a command and name every address that it, its threads or its children turn to, in order."""
    folder.mkdir()
    traced = ["strace", "-f", "-e", "signal=none", "-e", "trace=?connect,?sendto,?sendmsg,?sendmmsg"]
    subprocess.run(
        [*traced, "-o", folder / "calls", "--", *map(str, command)], check=False, timeout=300, **options
    )
    return _ADDRESS.findall((folder / "calls").read_text(errors="replace"))


def read(path: Path) -> list[Change]:
    """Read the calls of one thread that changed something."""
    lines = path.read_text(errors="replace").splitlines()
    found = [parse(line) for line in lines]
    return [change for change in found if change is not None and not is_harmless(change)]


def parse(line: str) -> Change | None:
    """Parse a line of strace; None for what failed or changes nothing."""
    match = _LINE.match(line)
    if match is None or match[3].startswith("-"):
        return None
    call, rest = match[1], match[2]
    if call == "mmap" and not ("PROT_WRITE" in rest and "MAP_SHARED" in rest and "MAP_ANON" not in rest):
        return None
    if call in ON_DESCRIPTORS:
        path = _DESCRIPTOR.findall(rest)[ON_DESCRIPTORS[call]]
        return Change(call, (os.path.normpath(path),), rest)
    if call in ("open", "openat") and not re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", rest):
        return None
    name = "open" if call == "creat" else re.sub(r"at2?$", "", call)
    return Change(name, tuple(names_of(rest, second_is_link=name == "symlink")), rest)


def names_of(rest: str, *, second_is_link: bool = False) -> list[str]:
    """Name the paths of a call, each taken from the folder that goes before it, if one does."""
    if second_is_link:
        target, _, rest = rest.partition('",')
        return [target.lstrip('"'), *names_of(rest)]
    found, folder = [], str(Path.cwd())
    for match in re.finditer(rf"{_DESCRIPTOR.pattern}|{_TEXT.pattern}", rest):
        if match[1] is not None:
            folder = match[1]
        else:
            found.append(os.path.normpath(Path(folder) / match[2]))
    return found


def is_harmless(change: Change) -> bool:
    """Say whether only devices, pipes and shared memory were touched."""
    return all(HARMLESS.fullmatch(path) for path in change.paths)


# --- the rules ---------------------------------------------------------------------------------------------

TEMPORARY = ".tmp-"
GROWING = ("ingesteddata/finaldata.csv", "ingesteddata/rejectedrows.csv")
FOLDERS = (
    "ingesteddata",
    "models",
    "production_deployment",
    ".state",
    ".state/outbox",
    ".state/outbox/webhook",
    ".state/outbox/command",
    ".state/spill",
    "logs",
)
DATABASE = re.compile(r"records\.db(-wal|-shm|-journal)?")
LOG = re.compile(r"logs/pipeline\.log")


def judge(changes: list[Change], root: Path) -> list[str]:
    """Name every change in a workspace that is none of the four verbs, the history, the log or a spill."""
    wrong = []
    for change in changes:
        inside = [os.path.relpath(path, root) for path in change.paths if path.startswith(f"{root}/")]
        if inside and not is_allowed(change, inside):
            wrong.append(f"{change.call} {' -> '.join(change.paths)} {change.flags[:120]}")
    return wrong


def is_allowed(change: Change, inside: list[str]) -> bool:
    """Say whether one change is of the four verbs, or exempt."""
    path = inside[-1]
    if DATABASE.fullmatch(path) or LOG.fullmatch(path) or is_below(path, ".state/spill"):
        return True
    if change.call == "mkdir":
        return path in FOLDERS or is_temporary(path)
    if change.call == "rename":
        source, target = inside
        together = Path(source).parent == Path(target).parent
        return together and (is_temporary(source) or (is_release(source) and is_temporary(target)))
    if change.call in ("unlink", "rmdir"):
        return is_temporary(path) or is_below(path, ".state/outbox") or path == ".state/said.json"
    if path in GROWING:
        return change.call in ("write", "ftruncate") or (change.call == "open" and "O_APPEND" in change.flags)
    if path == ".state/lock":
        return change.call in ("open", "write", "ftruncate") and "O_TRUNC" not in change.flags
    if path == ".state/tick.json":
        return change.call == "utimens"
    return is_temporary(path)


def is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")


def is_temporary(path: str) -> bool:
    """Say whether a path is a temporary sibling, or lies in a release that nobody can see yet."""
    return any(part.startswith(TEMPORARY) for part in Path(path).parts)


def is_release(path: str) -> bool:
    return re.fullmatch(r"production_deployment/\.\.r\d+-[0-9a-f]{12}", path) is not None
