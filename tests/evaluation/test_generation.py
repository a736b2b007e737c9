from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from moe_replication.cli import app
from moe_replication.config import load_project
from moe_replication.config.fingerprint import training_code_version
from moe_replication.config.needs import data_path
from moe_replication.config.run import RunConfig
from moe_replication.data.tokenizer import BOS_ID, encode, load_tokenizer, train_tokenizer
from moe_replication.errors import BadInput
from moe_replication.evaluation import generation
from moe_replication.evaluation.checkpoints import Snapshot
from moe_replication.files import read_json, write_json, write_text
from moe_replication.models.gpt import GPT
from moe_replication.models.initialization import fill_normal
from moe_replication.routing import RoutingContext

ROOT = Path(__file__).parents[2]
PROMPT = [BOS_ID, 17, 300, 42, 5]
GREEDY = {"max_new_tokens": 12, "temperature": 0.0, "top_k": None, "seed": 0}
WARM = {"max_new_tokens": 12, "temperature": 1.0, "top_k": None, "seed": 0}


def _model(config: RunConfig) -> GPT:
    """Three layers, random weights, cut-offs that some tokens pass; the document separator is out of reach."""
    model = GPT(replace(config, model=replace(config.model, layers=3)))
    for name, parameter in model.named_parameters():
        fill_normal(parameter, 0.3, 0, name)
    for layer in model.moe_layers():
        layer.state.cutoff_E = torch.linspace(0.0, 3.0, config.moe.experts)
    return model


def _separate(model: GPT, prompt: list[int]) -> None:
    """Make the separator the likeliest token after the prompt."""
    with torch.no_grad():
        hidden = generation.forward_next(model, prompt, model.empty_caches()).hidden_BTD[0, -1]
        model.head[BOS_ID] = 5.0 * hidden


@pytest.fixture
def et(smoke) -> GPT:
    return _model(smoke["et"])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """512 tokens trained on words, with every byte in reach."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    stems = (f"{stem}{ending}" for stem in ("thres", "hold", "rout", "expert") for ending in "aeiou" * 9)
    text = " ".join(stems) + "".join(f"{chr(code)}w{code}x{code}y " for code in range(200, 460))
    table = pl.DataFrame({"doc_id": ["made"], "text": [text]})
    train_tokenizer(path, [table], vocab_size=512, sample_megabytes=1.0)
    return load_tokenizer(path)


@pytest.mark.parametrize("condition", ["dense", "tc-aux", "ec-batch", "et", "et-fallback", "l1"])
def test_greedy_tokens_are_the_likeliest_of_parallel_passes(smoke, condition):
    """Every step again from scratch, without a cache: the same token, and the fan-out it has in the whole text."""
    model = _model(smoke[condition])
    temperature = smoke[condition].routing.evaluation_temperature
    found = list(generation.generate(model, PROMPT, **GREEDY))
    ids = list(PROMPT)
    with torch.no_grad():
        for token in found:
            context = RoutingContext(training=False, pool_tokens=len(ids), temperature=temperature)
            logits = model.logits(model(torch.tensor([ids]), context).hidden_BTD[0, -1])
            assert token.id == logits.argmax()
            ids.append(token.id)
        context = RoutingContext(training=False, pool_tokens=len(ids), temperature=temperature)
        whole = model(torch.tensor([ids]), context)
    fanouts = sum((routed.selection.mask_NE.sum(dim=1) for routed in whole.routing), torch.zeros(len(ids))).tolist()
    shown = generation.read_prompt(model, PROMPT) + found
    assert len(found) == 12
    assert [token.id for token in shown] == ids
    assert [token.fanout for token in shown] == fanouts


def test_fanout_sums_over_layers(smoke, et):
    assert {token.fanout for token in generation.generate(_model(smoke["tc"]), PROMPT, **GREEDY)} == {2}
    assert {token.fanout for token in generation.generate(_model(smoke["dense"]), PROMPT, **GREEDY)} == {0}
    assert len({token.fanout for token in generation.generate(et, PROMPT, **WARM)}) > 1
    for layer in et.moe_layers():
        layer.state.cutoff_E = torch.full_like(layer.state.cutoff_E, -1e9)
    assert {token.fanout for token in generation.generate(et, PROMPT, **GREEDY)} == {2 * 16}


def test_draws_are_a_function_of_the_seed(et):
    first, again, other = (
        [token.id for token in generation.generate(et, PROMPT, **WARM | {"seed": seed})] for seed in (3, 3, 4)
    )
    assert first == again != other
    before = torch.random.get_rng_state()
    list(generation.generate(et, PROMPT, **WARM))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_tokens_come_one_by_one(et, monkeypatch):
    """A reader that stops early costs no further pass."""
    passes = []
    forward = generation.forward_next
    monkeypatch.setattr(generation, "forward_next", lambda *a: passes.append(len(a[1])) or forward(*a))
    tokens = generation.generate(et, PROMPT, **GREEDY)
    assert passes == []
    next(tokens)
    next(tokens)
    assert passes == [5, 1, 1]
    assert torch.is_grad_enabled()


def test_separator_ends_the_text(et):
    _separate(et, PROMPT)
    assert list(generation.generate(et, PROMPT, **GREEDY)) == []
    _separate(et, [*PROMPT, 7])
    with torch.no_grad():
        et.head[7] = 50.0 * generation.forward_next(et, PROMPT, et.empty_caches()).hidden_BTD[0, -1]
    assert [token.id for token in generation.generate(et, PROMPT, **GREEDY)] == [7]


def test_nothing_in_the_routing_state_changes(et):
    before = [{name: value.clone() for name, value in layer.state.state_dict().items()} for layer in et.moe_layers()]
    list(generation.generate(et, PROMPT, **WARM))
    for layer, saved in zip(et.moe_layers(), before, strict=True):
        assert layer.state.passes == 0
        assert all(torch.equal(value, saved[name]) for name, value in layer.state.state_dict().items())


def _shares(temperature: float, top_k: int | None, draws: int = 4000) -> list[float]:
    logits = torch.tensor([1.0, 3.0, 2.0, 0.0]) * torch.tensor(2.0).log()
    generator = torch.Generator().manual_seed(0)
    settings = {"temperature": temperature, "top_k": top_k, "generator": generator}
    drawn = torch.tensor([generation.sample(logits, **settings) for _ in range(draws)])
    return (drawn.bincount(minlength=4) / draws).tolist()


@pytest.mark.parametrize(
    ("temperature", "top_k", "expected"),
    [
        # Odds 2 : 8 : 4 : 1 at temperature 1, their squares at one half.
        (1.0, None, [2 / 15, 8 / 15, 4 / 15, 1 / 15]),
        (0.5, None, [4 / 85, 64 / 85, 16 / 85, 1 / 85]),
        (1.0, 2, [0.0, 8 / 12, 4 / 12, 0.0]),
        (1.0, 9, [2 / 15, 8 / 15, 4 / 15, 1 / 15]),
        (1.0, 1, [0.0, 1.0, 0.0, 0.0]),
        (0.0, None, [0.0, 1.0, 0.0, 0.0]),
        (1e-45, None, [0.0, 1.0, 0.0, 0.0]),
    ],
)
def test_odds_of_the_draws_on_paper(temperature, top_k, expected):
    """4,000 draws: three standard errors are at most 0.024."""
    assert _shares(temperature, top_k) == pytest.approx(expected, abs=0.024)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_new_tokens": 0}, "tokens = 0 must be at least 1"),
        ({"temperature": -0.5}, r"temperature = -0\.5 must be 0"),
        ({"temperature": float("nan")}, "temperature = nan must be 0"),
        ({"top_k": 0}, "top_k = 0 must be at least 1"),
        ({"prompt_ids": []}, "at least one id"),
        ({"prompt_ids": [0, 512]}, "each from 0 to 511"),
    ],
)
def test_values_out_of_range_are_refused_before_any_pass(et, changes, message):
    arguments = {"prompt_ids": PROMPT, **GREEDY} | changes
    with pytest.raises(BadInput, match=message):
        generation.generate(et, **arguments)


def test_snapshot_by_step():
    found = [Snapshot(step=step, path=f"step-{step}.pt") for step in (5, 10, 20)]
    assert generation.at_step(found, None).step == 20
    assert generation.at_step(found, 10).step == 10
    with pytest.raises(BadInput, match="step = 7: no such snapshot; choose from 5, 10, 20"):
        generation.at_step(found, 7)


@pytest.mark.parametrize("text", ["thresholda routo", "naïve café 日本 🙂 end", "a\tb\n\nc", ""])
def test_pieces_join_to_the_text(tokenizer, text):
    pieces = generation.TextPieces(tokenizer)
    parts = [pieces.push(token) for token in encode(tokenizer, [text])[0]]
    assert "".join(parts) + pieces.rest() == text
    assert "\ufffd" not in "".join(parts)


def test_pieces_of_bytes_that_are_no_text(tokenizer):
    pieces = generation.TextPieces(tokenizer)
    start_of_three, escape = (tokenizer.token_to_id(letter) for letter in ("â", "ě"))
    assert pieces.push(start_of_three) == ""
    assert pieces.rest() == "\ufffd"
    # An escape sequence would reach the terminal.
    assert tokenizer.decode([escape]) == "\x1b"
    assert pieces.push(escape) == "\ufffd"
    assert pieces.waiting == []


def _shown(model: GPT, tokenizer, prompt: str, colour: bool, **settings: object) -> tuple[str, list]:
    out = io.StringIO()
    console = Console(file=out, soft_wrap=True, highlight=False, force_terminal=colour, color_system="truecolor")
    tokens = generation.show(console, model, tokenizer, prompt, colour=colour, **WARM | settings)
    return out.getvalue(), tokens


def test_text_without_colour_is_plain(et, tokenizer):
    text, tokens = _shown(et, tokenizer, "thresholda [red]", colour=False)
    assert "\x1b" not in text
    continuation = tokenizer.decode([token.id for token in tokens])
    assert text.startswith("thresholda [red]")
    assert len(tokens) == len(encode(tokenizer, ["thresholda [red]"])[0]) + 12
    assert continuation.startswith("thresholda [red]")
    *_, last = text.splitlines()
    mean = sum(token.fanout for token in tokens) / len(tokens)
    assert last.rstrip() == f"experts a token over 2 MoE layers: mean {mean:.2f}, target 2"


def test_colour_tells_the_fanout(smoke, et, tokenizer):
    text, _ = _shown(et, tokenizer, "thresholda", colour=True)
    assert "48;2;" in text
    *_, last = text.splitlines()
    assert "1" in last
    assert "5 and more" in last
    dense, _ = _shown(_model(smoke["dense"]), tokenizer, "thresholda", colour=True)
    assert "48;2;" not in dense
    assert dense.splitlines()[-1] == "dense model: no routed experts"


def test_shades_and_legend_on_paper():
    """Target 11: nothing, up to half, up to the target, up to twice, more."""
    assert generation.legend(11).plain == " 0  1-5  6-11  12-22  23 and more "
    assert generation.legend(1).plain == " 0  1  2  3 and more "
    shades = [generation.shade(fanout, 11) for fanout in (0, 1, 5, 6, 11, 12, 22, 23, 176)]
    assert [shades.index(shade) for shade in shades] == [0, 1, 1, 3, 3, 5, 5, 7, 7]


@pytest.fixture
def trained(tmp_path, monkeypatch, tokenizer) -> str:
    """Run directory, in a project of its own, of a finished ET run with two snapshots of random weights."""
    for part in ("config", "workflow"):
        (tmp_path / part).symlink_to(ROOT / part)
    monkeypatch.chdir(tmp_path)
    project = load_project(".", {"scale": "smoke"})
    run = project.run("expert-threshold", "et", 0)
    versions = {"config_version": project.condition(run).version, "training_code": training_code_version()}
    write_json(run.folder / "run.json", {"run": {"run_key": "abc"}, **versions})
    write_text(data_path("data", run.config) / "tokenizer.json", tokenizer.to_str())
    folder = Path("results/smoke/checkpoints/abc/snapshots")
    folder.mkdir(parents=True)
    model = GPT(run.config)
    for step, scale in ((5, 0.1), (10, 0.3)):
        for name, parameter in model.named_parameters():
            fill_normal(parameter, scale, 0, name)
        routing = [{**layer.state.state_dict(), "cutoff_E": torch.full((16,), 0.5)} for layer in model.moe_layers()]
        saved = {"model": model.state_dict(), "task": {"routing": routing, "silence": None}}
        torch.save(saved, folder / f"step-{step:08d}.pt")
    return str(run.folder)


def test_command_prints_the_continuation(trained):
    arguments = ["generate", trained, "--prompt", "thresholda", "--tokens", "8", "--seed", "2"]
    last, again, first, greedy = (
        CliRunner().invoke(app, [*arguments, *more])
        for more in ([], ["--step", "10", "--no-colour"], ["--step", "5"], ["--temperature", "0", "--top-k", "3"])
    )
    for result in (last, again, first, greedy):
        assert result.exit_code == 0, result.output
        assert result.output.startswith("thresholda")
        assert "experts a token over 1 MoE layer: mean" in result.output
        assert "\x1b" not in result.output
    assert last.output == again.output
    assert len({last.output, first.output, greedy.output}) == 3


def test_command_warns_beyond_the_trained_length(trained):
    """smoke trains on 64 positions."""
    result = CliRunner().invoke(app, ["generate", trained, "--tokens", "70", "--seed", "1"])
    assert result.output.splitlines()[-1] == "note: trained on 64 positions, the text has 71"


def test_command_refuses_a_run_of_other_settings(trained):
    record = Path(trained, "run.json")
    write_json(record, read_json(record) | {"config_version": "0" * 16})
    result = CliRunner().invoke(app, ["generate", trained])
    assert isinstance(result.exception, BadInput)
    assert "made from other settings" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "--step", "7"], "step = 7: no such snapshot; choose from 5, 10"),
        (["RUN", "--temperature", "-1"], "temperature = -1"),
        (["results/smoke/runs/expert-threshold/tc/seed-0"], "run.json"),
        (["results/smoke/runs/expert-ecology/v1/seed-0"], "v1 is a vision run; only language models generate text"),
    ],
)
def test_command_refuses_bad_input(trained, arguments, message):
    result = CliRunner().invoke(app, ["generate", *(trained if word == "RUN" else word for word in arguments)])
    assert isinstance(result.exception, BadInput)
    assert message in str(result.exception)
