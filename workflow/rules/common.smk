"""What the rules share: the checked project, and the files that its runs make and need."""

import json
import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from moe_replication.config import load_project
from moe_replication.config.analysis import ANALYSIS_FILE
from moe_replication.config.core import CORE_FILES, CORE_ROOT, core_runs, core_settings
from moe_replication.config.figures import figure_code
from moe_replication.config.fingerprint import code_version, training_code_version
from moe_replication.config.jobs import RECORD_FILES, training_jobs
from moe_replication.config.needs import EMBEDDED_TEXT
from moe_replication.config.probe import probe_folder
from moe_replication.config.overrides import OVERRIDES_VARIABLE, changed_settings
from moe_replication.errors import BadInput
from moe_replication.report.sections import PAGES_CODE, SCORECARD_CODE, letters, page_file, page_names, sections
from moe_replication.scheduling.requests import threads_of_all
from moe_replication.tracking import LAST_FAILURE

try:
    PROJECT = load_project(overrides=config)
except BadInput as error:
    raise WorkflowError(str(error)) from None

SCALE = PROJECT.scale.name
RESULTS = f"results/{SCALE}"
FIGURES = f"figures/{SCALE}"
LOGS = f"logs/{SCALE}"
DATA = PROJECT.data_folder
# Paper -> letter; section of the report -> its category there.
LETTERS = letters(PROJECT)
SECTIONS = sections(LETTERS)


wildcard_constraints:
    name=r"[A-Za-z0-9][A-Za-z0-9.-]*",


# Overrides reach the commands through the environment, which Snakemake does not track: what a step depends on is in
# its own params, so that one more seed or another tracking server runs nothing else again.
os.environ[OVERRIDES_VARIABLE] = json.dumps(changed_settings(PROJECT.root, config))


def records():
    """The record of every run."""
    return [f"{run.folder}/run.json" for run in PROJECT.runs]


def run_files():
    """Every file of every run directory."""
    return [f"{run.folder}/{file}" for run in PROJECT.runs for file in RECORD_FILES]


def scorecard_files():
    """The verdicts, for machines and for people."""
    return [f"{RESULTS}/scorecard.{kind}" for kind in ("json", "md", "html")]


def figure_files(kind):
    """Every figure of the chosen papers."""
    return [f"{FIGURES}/{name}.{kind}" for name in PROJECT.figures]


def mirror_files():
    """The mark of the MLflow mirror, when tracking is on."""
    return [f"{RESULTS}/mirror.json"] if PROJECT.tracking.enabled else []


def last_mirror_failure():
    """Mark of the last failed mirror: a new one makes the next call mirror again."""
    mark = Path(RESULTS, LAST_FAILURE)
    return mark.read_text(encoding="utf-8") if mark.is_file() else ""


def corpus_of_tokens(wildcards):
    """The embedded corpus, for token sets that are made from it."""
    embedded = any(wildcards.name.startswith(f"{source}-") for source in EMBEDDED_TEXT)
    return f"{DATA}/corpora/embedded/manifest.json" if embedded else []


def token_threads(wildcards):
    """All cores for a large set; `workflow.cores` would fail on a cluster, whose cores nobody counts."""
    return 1 if corpus_of_tokens(wildcards) else threads_of_all(workflow.resource_settings.cores, PROJECT.root)


def domain_roots(name):
    """Local copies that a set of probe texts is made from, if any."""
    return [PROJECT.roots[root] for root in ("humaneval", "gsm8k")] if name == "public" else []


def core_files():
    """CORE's table and summary of every run that is scored."""
    runs = core_runs(PROJECT, core_settings(PROJECT.root))
    return [f"{probe_folder(run)}/{file}" for run in runs for file in CORE_FILES]


def core_bundle():
    """The CORE bundle where it is a folder or a file; a URL is no file to wait for."""
    place = PROJECT.roots[CORE_ROOT]
    return [] if place is None or place.startswith(("http://", "https://")) else place


def text_root(name):
    """Local copy that a token set is made from, if any."""
    return PROJECT.roots.get(name.rsplit("-", 4)[0])
