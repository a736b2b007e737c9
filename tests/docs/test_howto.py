"""What the tutorial and the how-to pages tell a reader to type: every command line is checked, every block applied.

A line above a block names its file and place: ``New file `PATH`:``, ``In `PATH`, in place of `TEXT`:`` or
``In `PATH`, below the line `TEXT`:`` (also `below the line that begins with`).
"""

from __future__ import annotations

import functools
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
import yaml

from moe_replication.cli import app
from moe_replication.config import Project, load_project
from moe_replication.config.needs import data_name, parse_token_name
from moe_replication.config.overrides import parse_overrides
from moe_replication.config.project import parse_run_path
from moe_replication.data.domains import DOMAIN_SETS, PUBLIC_DOMAINS
from moe_replication.data.hub_images import HUB_SETS
from moe_replication.data.hub_text import HUB_TEXTS
from moe_replication.data.prepare import IMAGE_SETS
from moe_replication.files import read_json
from scratch_project import Scratch, copied, make_scratch

ROOT = Path(__file__).parents[2]
PAGES = ("tutorial.md", *(f"howto/{page.name}" for page in sorted((ROOT / "docs/howto").glob("*.md"))))
TEXT = {page: (ROOT / "docs" / page).read_text(encoding="utf-8") for page in PAGES}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
BLOCK = re.compile(
    r"^(?:New file|In) `([^`\n]+)`(?:, (in place of|below the line(?: that begins with)?) `([^`\n]+)`)?:\n\n"
    r"```\w+\n(.*?)^```$",
    re.M | re.S,
)
ASSIGNMENT = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True)
class Block:
    """Text that a page puts into a file: a new one, in place of `anchor`, or below the line that begins with it."""

    path: str
    place: str
    anchor: str
    text: str

    def apply(self, root: Path) -> None:
        """Write it below `root`; the anchor must be there once."""
        file = root / self.path
        if not self.place:
            assert not file.exists(), f"{self.path} is there already"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.text, encoding="utf-8")
            return
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        if self.place == "in place of":
            content = "".join(lines)
            assert content.count(self.anchor) == 1, f"{self.path}: {self.anchor}"
            file.write_text(content.replace(self.anchor, self.text.strip()), encoding="utf-8")
            return
        (found,) = [number for number, line in enumerate(lines) if line.strip().startswith(self.anchor)]
        lines.insert(found + 1, self.text)
        file.write_text("".join(lines), encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """The blocks of a page that name a file, in order."""
    return [Block(*found) for found in BLOCK.findall(TEXT[page])]


def command_lines(page: str) -> list[str]:
    """The lines of a page's bash blocks, continued ones joined."""
    scripts = [script for language, script in FENCE.findall(TEXT[page]) if language == "bash"]
    return [line for script in scripts for line in script.replace("\\\n", " ").splitlines() if line.strip()]


LINES = [(page, line) for page in PAGES for line in command_lines(page)]


@pytest.fixture(scope="session")
def settings_of(tmp_path_factory) -> Callable[[str], Path]:
    """settings_of(page): a folder with config/ and workflow/ as they are once the page's blocks are applied."""

    @functools.cache
    def make(page: str) -> Path:
        mine = [block for block in blocks(page) if block.path.startswith(("config/", "workflow/"))]
        if not mine:
            return ROOT
        root = tmp_path_factory.mktemp("settings")
        for part in ("config", "workflow"):
            shutil.copytree(ROOT / part, root / part)
        for block in mine:
            block.apply(root)
        return root

    return make


@dataclass
class Checker:
    """Checks a command of a page without running it; `check` fails for a word that it does not know."""

    root: Path
    anywhere: Path  # a folder that is there, in place of those that only the reader has

    def check(self, words: list[str]) -> None:
        while words and ASSIGNMENT.match(words[0]):
            words = words[1:]
        program, arguments = words[0].removeprefix(".venv/bin/"), words[1:]
        checks = {
            "make": self.make, "moe-replication": self.ours, "snakemake": self.snakemake, "pytest": self.paths,
            "pip": self.pip, "hf": self.hf, "curl": self.curl, "rm": self.run_files, "tail": self.run_files,
            "srun": self.srun, "python": self.paths, "git": self.git, "export": self.export,
        }  # fmt: skip
        assert program in checks, f"no check knows the command {program}"
        checks[program](arguments)

    def project(self, scale: str | None, settings: list[str], dotted: bool = False) -> Project:
        """What load_project makes of overrides; folders of data are taken for granted."""
        if dotted:
            overrides = parse_overrides(settings)
        else:
            overrides = {key: yaml.safe_load(value) for key, value in (item.split("=", 1) for item in settings)}
        overrides |= {"scale": scale} if scale else {}
        roots = overrides.get("data", {}).get("roots", {})
        for name in roots:
            roots[name] = str(self.anywhere)
        return load_project(self.root, overrides)

    def make(self, arguments: list[str]) -> None:
        values = dict(word.split("=", 1) for word in arguments if ASSIGNMENT.match(word))
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert values.keys() <= set(re.findall(r"^([A-Z_]+) \?=", makefile, re.M))
        shown = make_help()
        for target in (word for word in arguments if not ASSIGNMENT.match(word)):
            assert target == "help" or re.search(rf"^  make {target} ", shown, re.M), target
        self.project(values.get("SCALE"), shlex.split(values.get("CONFIG", "")))

    def ours(self, arguments: list[str]) -> None:
        """Command, options and values by the command line's own parser; then the names among the values."""
        command, context, name = typer.main.get_command(app), None, "moe-replication"
        while hasattr(command, "commands"):
            context = command.context_class(command, info_name=name, parent=context)
            name, command, arguments = command.resolve_command(context, list(arguments))
        given = command.make_context(name, list(arguments), parent=context).params
        runs = [*(given.get("runs") or ()), *([given["run"]] if given.get("run") else [])]
        names = [parse_run_path(run) for run in runs]
        scale = given.get("scale") or (names[0].scale if names else None)
        project = self.project(scale, given.get("overrides") or [], dotted=True)
        for run in names:
            project.run(run.paper, run.condition, run.seed)
        conditions = {run.condition for run in project.runs}
        figures = set(project.figures)
        if name == "figure":
            assert set(given["names"]) <= figures
        elif name == "compare":
            assert set(given["pair"] or ()) <= conditions
        elif name == "why":
            assert given["target"] is None or given["target"] in conditions | figures
        elif name == "tokens":
            parse_token_name(given["name"])
            assert given["name"] in self.token_names()
        elif name == "images":
            assert given["name"] in IMAGE_SETS
        elif name == "domains":
            assert given["name"] in DOMAIN_SETS

    def token_names(self) -> set[str]:
        """Every token set that a run of any scale reads."""
        scales = (path.stem for path in (self.root / "config/scales").glob("*.yaml"))
        return {data_name(run.config) for scale in scales for run in load_project(self.root, {"scale": scale}).runs}

    def snakemake(self, arguments: list[str]) -> None:
        from snakemake.cli import get_argument_parser

        given = get_argument_parser().parse_args(arguments)
        assert (ROOT / given.workflow_profile / "config.yaml").is_file()
        listed = arguments[arguments.index("--config") + 1 :]
        settings = [word for word in listed if "=" in word and not word.startswith("--")]
        self.project(None, settings)
        rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "Snakefile", *rule_files()))
        for target in given.targets:
            assert f"\nrule {target}:" in rules, target

    def pip(self, arguments: list[str]) -> None:
        check_options([sys.executable, "-m", "pip", arguments[0], "--help"], arguments)
        for number, word in enumerate(arguments):
            if word == "--requirement":
                assert (ROOT / arguments[number + 1]).is_file()

    def hf(self, arguments: list[str]) -> None:
        """Repository and commit are those that the code pins."""
        check_options([str(Path(sys.executable).parent / "hf"), arguments[0], "--help"], arguments)
        pinned = {
            (spec.repository, spec.revision)
            for spec in (*HUB_SETS.values(), *HUB_TEXTS.values(), *PUBLIC_DOMAINS.values())
        }
        assert (arguments[1], arguments[arguments.index("--revision") + 1]) in pinned

    def curl(self, arguments: list[str]) -> None:
        assert arguments[-1] in (ROOT / "config/core.yaml").read_text(encoding="utf-8")

    def run_files(self, arguments: list[str]) -> None:
        """Files of a run that the project knows."""
        for word in (word for word in arguments if not word.startswith("-")):
            run = parse_run_path(word)
            self.project(run.scale, []).run(run.paper, run.condition, run.seed)

    def paths(self, arguments: list[str]) -> None:
        """Files and folders of the repository, or of the page's blocks."""
        for word in (word for word in arguments if "/" in word):
            assert (ROOT / word).exists(), word

    def git(self, arguments: list[str]) -> None:
        assert arguments[0] == "checkout"
        self.paths(arguments[1:])

    def srun(self, arguments: list[str]) -> None:
        self.check(arguments[arguments.index("moe-replication") :])

    def export(self, arguments: list[str]) -> None:
        assert all(ASSIGNMENT.match(word) for word in arguments)


@functools.cache
def make_help() -> str:
    return subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@functools.cache
def help_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def check_options(command: list[str], arguments: list[str]) -> None:
    """Every long option is in the program's own help."""
    shown = help_of(*command)
    for word in arguments:
        if word.startswith("--"):
            assert re.search(rf"{re.escape(word.partition('=')[0])}\b", shown), word


def rule_files() -> list[Path]:
    return sorted((ROOT / "workflow/rules").glob("*.smk"))


def simple_commands(line: str) -> list[list[str]]:
    """The words of every command of a line, without comments; what joins commands is left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("&|;"):
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words]


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{page}: {line}" for page, line in LINES])
def test_every_command_line_would_be_accepted(page, line, settings_of, tmp_path):
    for words in simple_commands(line):
        Checker(settings_of(page), tmp_path).check(words)


def test_a_wrong_line_is_noticed(tmp_path):
    wrong = (
        "make replicat", "make replicate SCAL=demo", "make replicate CONFIG='condition=[et]'", "cowsay moe",
        "moe-replication tran results/demo/runs/expert-threshold/et/seed-0", "moe-replication plan --sclae smoke",
        "moe-replication train results/demo/runs/expert-threshold/ett/seed-0", "moe-replication figure a-fig99",
        "moe-replication why ett --scale demo", "snakemake trained --workflow-profile none --config scale=demo",
        "pip wheel --requirements requirements.lock", "rm results/demo", "pytest tests/nowhere",
        "hf download uoft-cs/cifar10 --revision main",
    )  # fmt: skip
    for line in wrong:
        with pytest.raises(BaseException) as caught:  # noqa: PT011
            Checker(ROOT, tmp_path).check(*simple_commands(line))
        assert not isinstance(caught.value, (KeyboardInterrupt, TypeError, AttributeError)), line


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_code_or_settings_names_its_file(page):
    fences = [language for language, _ in FENCE.findall(TEXT[page]) if language in ("python", "yaml")]
    assert len(fences) == len(blocks(page))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_a_page_and_its_heading(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", TEXT[page]):
        if target.startswith("http"):
            continue
        file = (ROOT / "docs" / page).parent.joinpath(target).resolve() if target else ROOT / "docs" / page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{target}#{anchor}"


def with_blocks(scratch: Scratch, page: str) -> Scratch:
    """A scratch project with the tests of routing and settings, after what the page says to write."""
    for part in ("routing", "config"):
        shutil.copytree(ROOT / "tests" / part, scratch.root / "tests" / part)
    for block in blocks(page):
        block.apply(scratch.root)
    return scratch


@pytest.mark.slow
def test_the_routing_rule_of_the_page_is_right_and_trains(tmp_path):
    scratch = with_blocks(make_scratch(tmp_path / "project"), "howto/add-a-routing-rule.md")
    tests = (
        "tests/routing/test_sinkhorn.py",
        "tests/routing/test_properties.py",
        "tests/config/test_project_config.py",
    )
    scratch.run("pytest", *tests, "-k", "sinkhorn or both_papers or every_setting")
    run = "results/smoke/runs/expert-threshold/tc-sinkhorn/seed-0"
    smoke = ("scale=smoke", "conditions=[tc-sinkhorn]", "tracking={enabled: false}")
    scratch.snakemake(f"{run}/run.json", config=smoke)
    record = read_json(scratch.root / run / "run.json")
    assert record["settings"]["rule"] == "sinkhorn"
    losses = pl.read_parquet(scratch.root / run / "curve.parquet")["train_loss"].drop_nulls()
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_the_data_set_of_the_page_is_read_from_a_local_copy(tmp_path):
    scratch = with_blocks(copied(ROOT, tmp_path / "project"), "howto/add-a-data-set.md")
    stories, folder = tmp_path / "tinystories", tmp_path / "tinystories/data"
    folder.mkdir(parents=True)
    words = np.random.default_rng(0).choice(list("abcdefghij"), size=(200, 60, 4))
    texts = [" ".join(map("".join, row)) for row in words]
    for split, part in (("train", texts[:150]), ("validation", texts[150:])):
        pl.DataFrame({"text": part}).write_parquet(folder / f"{split}-00000-of-00001.parquet")
    root = f"data.roots.tinystories={stories}"
    name = "tinystories-512-2-20000-2000"
    scratch.run("moe-replication", "prepare", "tokens", name, "--set", root)
    manifest = read_json(scratch.root / "data/tokens" / name / "manifest.json")
    assert manifest["source"]["repository"] == "roneneldan/TinyStories"
    assert manifest["splits"]["train"]["tokens"] == 20000
    planned = scratch.run("moe-replication", "plan", "--scale", "stories", "--set", root).stdout
    assert "2 conditions, 6 runs" in planned
