"""The pages of the documentation, taken apart."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUBJECTS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *SUBJECTS, ROOT / "SECURITY.md", ROOT / "benchmarks" / "README.md"]
ALL_PAGES = [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def list_blocks(text, language):
    """List the fenced blocks of a language, those inside of lists without their indent."""
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in blocks]


def list_commands(text):
    """List the commands of all console blocks, continued lines joined."""
    lines = []
    for block in list_blocks(text, "console"):
        lines += [line.removeprefix("$ ") for line in block.replace("\\\n", " ").splitlines()]
    return lines


def drop_blocks(text):
    """Leave out every fenced block."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def list_rows(text, heading):
    """List the rows of the first table below a heading, as lists of cells."""
    part = text.split(heading, 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", part, re.MULTILINE).group().splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
