"""CORE on a bundle in miniature: accuracies, centred scores and their mean by hand; the command line."""

from __future__ import annotations

import json
import random
import shutil
from contextlib import nullcontext
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml
from typer.testing import CliRunner

from core_bundles import (
    CENTERED,
    ITEMS,
    RIGHT,
    NextByteModel,
    byte_tokenizer,
    core_settings_of,
    write_bundle,
    zip_bundle,
)
from moe_replication.cli import app
from moe_replication.config import load_project
from moe_replication.config.fingerprint import training_code_version
from moe_replication.config.needs import data_path
from moe_replication.errors import BadInput
from moe_replication.evaluation.checkpoints import causal_context
from moe_replication.evaluation.core_benchmark import (
    Examinee,
    answer_task,
    centered_accuracy,
    core_score,
    evaluate_core,
    trunk_precision,
)
from moe_replication.evaluation.core_bundle import CoreTask, open_bundle
from moe_replication.evaluation.core_prompts import ordered, prompts, scored_options
from moe_replication.files import sha256_file, write_json
from moe_replication.models.gpt import GPT
from moe_replication.routing import RoutingState
from moe_replication.statistics.probe_tables import CORE_COLUMNS

ROOT = Path(__file__).parents[2]
RUN = "results/smoke/runs/expert-threshold/et/seed-0"
PROBES = "results/smoke/probes/expert-threshold/et/seed-0"


def examinee(window=None):
    return Examinee(
        model=NextByteModel(),
        tokenizer=byte_tokenizer(),
        window=window,
        device=torch.device("cpu"),
        trunk=nullcontext(),
    )


@pytest.fixture
def bundle(tmp_path):
    return open_bundle(write_bundle(tmp_path), core_settings_of())


@pytest.mark.parametrize(
    ("accuracy", "baseline", "expected"),
    [(0.25, 25, 0.0), (1.0, 25, 1.0), (0.5, 25, 1 / 3), (0.31, 62, -0.8157894736842105), (0.4, 0, 0.4)],
)
def test_centered_accuracy(accuracy, baseline, expected):
    assert centered_accuracy(accuracy, baseline) == pytest.approx(expected)


@pytest.mark.parametrize("window", [None, 200, 8])
def test_scores_by_hand(bundle, window):
    table = evaluate_core(examinee(window), bundle, core_settings_of())
    assert dict(zip(table["task"], table["accuracy"], strict=True)) == pytest.approx(RIGHT)
    assert dict(zip(table["task"], table["centered"], strict=True)) == pytest.approx(CENTERED)
    assert core_score(table) == pytest.approx(100 * (1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert table["kind"].to_list() == ["multiple_choice", "schema", "language_modeling"]
    assert (table["shots"].to_list(), table["examples"].to_list()) == ([2, 1, 1], [3, 4, 4])
    assert dict(table.schema) == CORE_COLUMNS
    assert (table["cropped"] > 0).to_list() == [window == 8] * 3


def test_cropped_is_the_share_of_prompts_longer_than_the_window():
    """Prompts of 4 and 6 tokens, `<|bos|>` with them; then one prompt, the question with its answer, of 5."""
    choice = CoreTask(name="c", kind="multiple_choice", shots=0, delimiter="", baseline=0.0,
                      items=({"query": "ab", "choices": ["c", "cde"], "gold": 1},))  # fmt: skip
    text = CoreTask(name="t", kind="language_modeling", shots=0, delimiter="", baseline=0.0,
                    items=({"context": "abc", "continuation": "d"},))  # fmt: skip
    shares = {3: (1.0, 1.0), 4: (0.5, 1.0), 5: (0.5, 0.0), 6: (0.0, 0.0), None: (0.0, 0.0)}
    for window, expected in shares.items():
        who = examinee(window)
        assert tuple(answer_task(who, task, core_settings_of()).cropped for task in (choice, text)) == expected
        longest = max(length for _, length in who.model.batches)
        assert longest == min(window or 6, 6) - 1  # no last token is read


def test_budget_changes_the_batches_and_not_the_scores(bundle):
    found = {}
    for budget in (1, 64, 100_000):
        who = examinee()
        found[budget] = evaluate_core(who, bundle, core_settings_of(batch_tokens=budget)), who.model.batches
    assert found[1][0].equals(found[64][0])
    assert found[1][0].equals(found[100_000][0])
    assert all(rows == 1 for rows, _ in found[1][1])
    # One batch a task, and what the options of an example share is read once: ab and ax need one row.
    assert len(found[100_000][1]) == 3
    assert found[100_000][1][0][0] == 5


def test_limit_leaves_out_examples_and_changes_no_prompt(bundle):
    for task in bundle.tasks:
        every = examinee()
        whole = answer_task(every, task, core_settings_of()).right
        for limit in (1, 2, 3, 9):
            some = examinee()
            assert answer_task(some, task, core_settings_of(max_examples=limit)).right == whole[:limit]
            assert some.model.rows <= every.model.rows
            assert (some.model.rows == every.model.rows) == (limit >= len(whole))


def test_finished_examples_are_counted_once(bundle):
    for budget in (1, 64):
        told = []
        answer_task(examinee(), bundle.tasks[0], core_settings_of(batch_tokens=budget), told.append)
        assert sum(told) == 3


def naive_answer(model, tokenizer, task, items, example):
    """One example, one option at a time, with the loss of every position of the whole prompt."""
    others = [item for place, item in enumerate(items) if place != example]
    text = ""
    for shot in random.Random(1234 + example).sample(others, task.shots):
        if task.kind == "multiple_choice":
            text += shot["query"] + task.delimiter + shot["choices"][shot["gold"]] + "\n\n"
        elif task.kind == "schema":
            text += shot["context_options"][shot["gold"]] + task.delimiter + shot["continuation"] + "\n\n"
        else:
            text += shot["context"].strip() + task.delimiter + shot["continuation"] + "\n\n"
    item, key = items[example], {"multiple_choice": "choices", "schema": "context_options"}.get(task.kind)
    if task.kind == "multiple_choice":
        texts = [text + item["query"] + task.delimiter + choice for choice in item["choices"]]
    elif task.kind == "schema":
        texts = [text + context + task.delimiter + item["continuation"] for context in item["context_options"]]
    else:
        question = text + item["context"].strip() + task.delimiter
        texts = [question.strip(), question + item["continuation"]]
    found = []
    encoded = [[0, *tokenizer.encode(text).ids] for text in texts]
    start = next(i for i in range(1000) if len({tuple(tokens[: i + 1]) for tokens in encoded}) > 1)
    end = next(i for i in range(1000) if len({tuple(tokens[-i - 1 :]) for tokens in encoded}) > 1)
    for tokens in encoded:
        first = len(tokens) - end if task.kind == "schema" else start
        with torch.no_grad():
            hidden = model(torch.tensor([tokens]), causal_context(len(tokens))).hidden_BTD
            logits = model.logits(hidden)[0].double()
        losses = [-logits[i - 1].log_softmax(0)[tokens[i]].item() for i in range(first, len(tokens))]
        exact = all(logits[i - 1].argmax() == tokens[i] for i in range(first, len(tokens)))
        found.append((sum(losses) / len(losses) if losses else None, exact))
    if key is None:
        return found[1][1]
    return min(range(len(found)), key=lambda option: found[option][0]) == item["gold"]


@pytest.mark.parametrize("kind", ["multiple_choice", "schema", "language_modeling"])
def test_answers_equal_those_of_a_naive_scorer(kind, smoke):
    """Random questions to a random ET model; about half of the texts go on with the letter that it likes best."""
    model = GPT(smoke["et"]).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(len(parameter)))
    draw, tokenizer = random.Random(5), byte_tokenizer()
    letters = [tokenizer.token_to_id(letter) for letter in "abcdefgh"]
    others = [token for token in range(len(model.head)) if token not in letters]
    model.head.data[others] = 0

    def words(count):
        return " ".join("".join(draw.choices("abcdefgh", k=draw.randint(1, 5))) for _ in range(count))

    items = []
    for _ in range(24):
        if kind == "language_modeling":
            context = words(3)
            tokens = torch.tensor([[0, *tokenizer.encode(context + ":").ids]])
            with torch.no_grad():
                best = model.logits(model(tokens, causal_context(tokens.numel())).hidden_BTD)[0, -1].argmax().item()
            items.append({"context": context, "continuation": draw.choice([tokenizer.id_to_token(best), "h"])})
        else:
            options = [words(draw.randint(1, 3)) + str(number) for number in range(3)]
            text = {"query": words(4), "choices": options}
            pair = {"continuation": words(4), "context_options": options}
            items.append((text if kind == "multiple_choice" else pair) | {"gold": draw.randrange(3)})
    task = CoreTask(name="t", kind=kind, shots=0 if kind == "language_modeling" else 2, delimiter=":", baseline=0.0,
                    items=tuple(items))  # fmt: skip
    settings = core_settings_of(batch_tokens=300)
    # With few shots some prompts are longer than the sequences of training; a character is a token.
    longest = max(len(text) for item in items for text in prompts(task, item, items[1:3]))
    assert task.shots == 0 or longest > smoke["et"].data.sequence_length
    who = Examinee(model=model, tokenizer=tokenizer, window=None, device=torch.device("cpu"), trunk=nullcontext())
    expected = [naive_answer(model, tokenizer, task, ordered(items, 1337), example) for example in range(24)]
    assert answer_task(who, task, settings) == (expected, 0.0)
    assert 0 < sum(expected) < 24


def test_trunk_is_float32_on_the_cpu():
    assert isinstance(trunk_precision("bfloat16", torch.device("cpu")), nullcontext)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with one finished ET run of the smoke scale: untrained weights, a byte tokenizer, a small bundle."""
    for part in ("config", "workflow"):
        shutil.copytree(ROOT / part, tmp_path / part)
    content = yaml.safe_load((tmp_path / "config/core.yaml").read_text(encoding="utf-8"))
    content["tasks"] = {"value": list(ITEMS), "origin": "test"}
    (tmp_path / "config/core.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    write_bundle(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOE_REPLICATION_OVERRIDES", raising=False)
    loaded = load_project(overrides={"scale": "smoke"})
    run = loaded.run("expert-threshold", "et", 0)
    record = {
        "config_version": loaded.condition(run).version, "training_code": training_code_version(),
        "run": {"run_key": "abc"},
    }  # fmt: skip
    write_json(run.folder / "run.json", record)
    model = GPT(run.config)
    model.initialize(0)
    states = [RoutingState.empty(run.config.moe.experts).state_dict() for _ in model.moe_layers()]
    snapshot = tmp_path / "results/smoke/checkpoints/abc/snapshots/step-00000010.pt"
    snapshot.parent.mkdir(parents=True)
    torch.save({"model": model.state_dict(), "task": {"routing": states, "silence": None}}, snapshot)
    tokenizer = tmp_path / data_path(loaded.data_folder, run.config) / "tokenizer.json"
    tokenizer.parent.mkdir(parents=True)
    byte_tokenizer().save(str(tokenizer))
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(app, ["core", *arguments], catch_exceptions=False)


def test_command_writes_table_and_summary(project):
    result = call(RUN, "--bundle", "eval_bundle")
    # The head starts at zero: every option costs the same, the first one is the answer, and no text is continued.
    table = pl.read_parquet(project / PROBES / "core.parquet")
    assert dict(table.schema) == CORE_COLUMNS
    assert table["cropped"].to_list() == [0.0] * 3
    assert table["accuracy"].to_list() == pytest.approx([1.0, 3 / 4, 0.0])
    summary = json.loads((project / PROBES / "core.json").read_text(encoding="utf-8"))
    assert summary.pop("core") == pytest.approx(100 * (1 + 1 / 2 + 0) / 3)
    bundle = open_bundle(project / "eval_bundle", core_settings_of())
    assert summary == {"bundle_sha256": bundle.sha256, "tasks": 3, "max_examples": None, "window": None, "step": 10}
    assert result.stdout.strip() == f"CORE 50.000 % (3 tasks): {RUN}"


def test_command_reads_the_root_and_says_when_it_is_limited(project):
    zip_bundle(project / "eval_bundle", project / "bundle.zip")
    result = call(RUN, "--set", "data.roots.core-bundle=bundle.zip", "--max-examples", "2")
    assert "% (3 tasks, at most 2 examples a task): results" in result.stdout
    assert pl.read_parquet(project / PROBES / "core.parquet")["examples"].to_list() == [2, 2, 2]
    assert json.loads((project / PROBES / "core.json").read_text(encoding="utf-8"))["max_examples"] == 2


def set_window(project, window):
    path = project / "config/core.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["window"]["value"] = window
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.mark.parametrize(("window", "used"), [("training", 64), (5, 5)])
def test_window_of_the_settings_crops(project, monkeypatch, window, used):
    seen = []

    def spy(kind, encoded, length):
        seen.append(length)
        return scored_options(kind, encoded, length)

    monkeypatch.setattr("moe_replication.evaluation.core_benchmark.scored_options", spy)
    set_window(project, window)
    call(RUN, "--bundle", "eval_bundle")
    assert set(seen) == {used}
    assert json.loads((project / PROBES / "core.json").read_text(encoding="utf-8"))["window"] == used
    cropped = pl.read_parquet(project / PROBES / "core.parquet")["cropped"]
    assert (cropped.max() > 0) == (window == 5)


@pytest.mark.parametrize(("window", "rule"), [(1, "'>= 2'"), ("evaluation", "training"), (2.5, "integer")])
def test_a_wrong_window_is_named(project, window, rule):
    set_window(project, window)
    with pytest.raises(BadInput, match=rf"config/core\.yaml: window = '?{window}'? breaks the rule .*{rule}"):
        call(RUN, "--bundle", "eval_bundle")


def test_command_twice_writes_the_same_bytes(project):
    files = [project / PROBES / name for name in ("core.parquet", "core.json")]
    seen = []
    for _ in range(2):
        call(RUN, "--bundle", "eval_bundle")
        seen.append([sha256_file(file) for file in files])
    assert seen[0] == seen[1]


def test_command_refuses_before_a_model_is_loaded(project, monkeypatch):
    def fail(*arguments):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("moe_replication.evaluation.core_benchmark.load_language_model", fail)
    with pytest.raises(BadInput, match=r"data\.roots\.core-bundle = 'none': no such folder or zip file"):
        call(RUN, "--bundle", "none")
    with pytest.raises(BadInput, match=r"only language models without ecology losses \(paper A\) are scored"):
        call(RUN.replace("expert-threshold/et", "expert-ecology/v1"), "--bundle", "eval_bundle")
    with pytest.raises(BadInput, match=r"run\.json: no such file"):
        call(RUN, RUN.replace("/et/", "/tc/"), "--bundle", "eval_bundle")
    (project / "eval_bundle/eval_data/logic/order.jsonl").unlink()
    with pytest.raises(BadInput, match=r"task order: .*holds no eval_data/logic/order\.jsonl"):
        call(RUN, "--bundle", "eval_bundle")
    (project / "results/smoke/checkpoints/abc/snapshots/step-00000010.pt").unlink()
    write_bundle(project)
    with pytest.raises(BadInput, match=r"holds no weights of results/smoke"):
        call(RUN, "--bundle", "eval_bundle")
    assert not (project / PROBES).exists()


def test_settings_are_validated(project):
    content = yaml.safe_load((project / "config/core.yaml").read_text(encoding="utf-8"))
    (project / "config/core.yaml").write_text(yaml.safe_dump(content | {"batch_tokens": 0}), encoding="utf-8")
    with pytest.raises(BadInput, match=r"config/core\.yaml: batch_tokens = 0 breaks the rule '>= 1'"):
        call(RUN, "--bundle", "eval_bundle")
