"""The plan's questions about other layouts and more GPUs, for people and for other tools."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from moe_replication.config.matrix import Condition
from moe_replication.config.project import Project
from moe_replication.config.run import RunConfig
from moe_replication.errors import BadInput
from moe_replication.planning.assumptions import Assumptions, load_assumptions
from moe_replication.planning.layouts import LayoutMemory, layout_memories
from moe_replication.planning.parameters import meta_model, parameter_counts
from moe_replication.planning.plan import image_set, image_sides
from moe_replication.planning.scaling import ScalingRow, StepTime, scaling
from moe_replication.planning.text import gigabytes, plain_table


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One condition with its layouts, or its scaling; `like` are the conditions with the same answer."""

    paper: str
    condition: str
    like: list[str]
    parameters: int
    layouts: list[LayoutMemory] = dataclasses.field(default_factory=list)
    weak: list[ScalingRow] = dataclasses.field(default_factory=list)
    strong: list[ScalingRow] = dataclasses.field(default_factory=list)


def with_layout(project: Project, zero_stage: int | None, micro_batch: int | None) -> Project:
    """`project` with other engine settings in every condition; BadInput where a condition cannot have them."""
    papers = {}
    for paper in project.papers.values():
        changed = {
            name: dataclasses.replace(condition, config=_changed(condition, zero_stage, micro_batch))
            for name, condition in paper.conditions.items()
        }
        papers[paper.name] = dataclasses.replace(paper, conditions=changed)
    return dataclasses.replace(project, papers=papers)


def layout_answers(project: Project) -> list[Answer]:
    """Memory of every different model under every layout."""
    assumptions = load_assumptions(project.root, project.scale)
    answers = []
    for paper, condition, config in _conditions(project):
        images = image_set(config, assumptions)
        model = meta_model(config, images)
        layouts = layout_memories(model, config, assumptions, image_sides(config, images))
        answers.append(
            Answer(paper=paper, condition=condition, like=[], parameters=parameter_counts(model)[0], layouts=layouts)
        )
    return _merged(answers)


def scaling_answers(project: Project) -> list[Answer]:
    """Weak and strong scaling of every different language model."""
    assumptions = load_assumptions(project.root, project.scale)
    answers = []
    for paper, condition, config in _conditions(project):
        if config.task == "language":
            model = meta_model(config, None)
            weak, strong = (scaling(model, config, assumptions, weak) for weak in (True, False))
            count = parameter_counts(model)[0]
            answers.append(
                Answer(paper=paper, condition=condition, like=[], parameters=count, weak=weak, strong=strong)
            )
    return _merged(answers)


def answers_json(answers: list[Answer]) -> list[dict]:
    """Rows for other tools; seconds, bytes and samples."""
    return [
        {
            "paper": answer.paper,
            "condition": answer.condition,
            "like": answer.like,
            "parameters": answer.parameters,
            "layouts": [_layout_json(entry) for entry in answer.layouts],
            "weak": [asdict(row) for row in answer.weak],
            "strong": [asdict(row) for row in answer.strong],
        }
        for answer in answers
    ]


def layouts_text(answers: list[Answer], assumptions: Assumptions) -> RenderableType:
    """One row a model: GB of a process at every stage, without and with activation checkpointing."""
    device = assumptions.device
    table = plain_table(f"Peak memory of one process in GB; * more than the {device.memory_gb:g} GB of a {device.name}")
    table.padding = (0, 1, 0, 0)  # one space between columns: twelve of them fit 120
    table.add_column("condition", no_wrap=True)
    names = (
        "parameters",
        "sequences",
        "ZeRO 0",
        "0 ckpt",
        "ZeRO 1",
        "1 ckpt",
        "ZeRO 2",
        "2 ckpt",
        "1 offl.",
        "1 both",
        "2 offl.",
        "2 both",
        "host",
    )
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for answer in answers:
        cells = {(e.layout.zero_stage, e.layout.offloaded, e.layout.checkpointed): e.memory for e in answer.layouts}
        keys = [
            (stage, off, again)
            for stage, off in ((0, False), (1, False), (2, False), (1, True), (2, True))
            for again in (False, True)
        ]
        sizes = [_marked(cells[key].total, device.memory_gb) if key in cells else "-" for key in keys]
        host = gigabytes(cells[1, True, False].host) if (1, True, False) in cells else "-"
        micro = str(answer.layouts[0].layout.micro_batch)
        table.add_row(_name(answer), f"{answer.parameters / 1e6:,.0f}M", micro, *sizes, host)
    notes = (
        "- ZeRO 0 in float32: bfloat16 is refused there, and clipping everywhere else. ckpt: activation checkpointing;"
        " offl.: masters and moments on the host; -: refused or without effect.",
        "- Experts are replicated and routers' logits gathered: no layout exchanges tokens.",
    )
    return Group(table, *map(Text, notes))


def scaling_text(answers: list[Answer], assumptions: Assumptions) -> RenderableType:
    """Two tables a model, and the constants behind them with their origins."""
    tables = [
        _scaling_table(f"\n{_name(answer)}, {answer.parameters / 1e6:,.0f}M: {kind}", rows)
        for answer in answers
        for kind, rows in (
            ("weak scaling, the sequences of a GPU stay", answer.weak),
            ("strong scaling, the batch stays", answer.strong),
        )
    ]
    origins = assumptions.network.origins if assumptions.network else {}
    stated = [f"{key} {getattr(assumptions.network, key):g} ({origin})" for key, origin in origins.items()]
    notes = (
        "- ms of a step; eff.: speed a GPU over that of one alone; experts: replicated experts' share of gradients and"
        " weights; exchange: sending tokens to sharded experts instead.",
        "- Simulated, nothing overlaps (planning/scaling.py). " + "; ".join(stated) + ".",
    )
    return Group(*tables, *map(Text, notes))


def _scaling_table(title: str, rows: list[ScalingRow]) -> Table:
    table = plain_table(title)
    parts = [field.name for field in dataclasses.fields(StepTime)]
    for name in ("GPUs", "busy", "batch", *parts, "step", "M tokens/s", "eff.", "GB", "experts", "exchange"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        times = [f"{1e3 * seconds:,.1f}" for seconds in (*asdict(row.step).values(), row.step.total)]
        last = [f"{1e3 * seconds:,.1f}" for seconds in (row.experts, row.exchange)]
        speed = f"{row.samples_per_second / 1e6:,.2f}"
        table.add_row(
            f"{row.gpus:,}", f"{row.busy:,}", f"{row.batch:,}", *times, speed, f"{row.efficiency:.0%}",
            gigabytes(row.memory), *last,
        )  # fmt: skip
    return table


def _conditions(project: Project) -> Iterator[tuple[str, str, RunConfig]]:
    for paper in project.papers.values():
        for name, condition in paper.conditions.items():
            yield paper.name, name, condition.config


def _changed(condition: Condition, zero_stage: int | None, micro_batch: int | None) -> RunConfig:
    config = condition.config
    engine = {} if zero_stage is None else {"zero_stage": zero_stage}
    # Training refuses bfloat16 at stage 0.
    engine |= {"precision": "float32"} if zero_stage == 0 else {}
    training = {} if micro_batch is None else {"micro_batch_size": micro_batch}
    try:
        return dataclasses.replace(
            config,
            engine=dataclasses.replace(config.engine, **engine),
            training=dataclasses.replace(config.training, **training),
        )
    except BadInput as error:
        raise BadInput(
            f"condition {condition.name}: {error}; name the conditions with --set conditions=[...]"
        ) from error


def _merged(answers: list[Answer]) -> list[Answer]:
    """Conditions with the same numbers as one answer."""
    found: list[Answer] = []
    for answer in answers:
        bare = dataclasses.replace(answer, condition="")
        same = next((a for a in found if dataclasses.replace(a, condition="", like=[]) == bare), None)
        if same is None:
            found.append(answer)
        else:
            same.like.append(answer.condition)
    return found


def _layout_json(entry: LayoutMemory) -> dict:
    memory = entry.memory
    sizes = {"memory": memory.total, "phase": memory.phase, "host": memory.host, "by_part": memory.parts()}
    return asdict(entry.layout) | sizes


def _name(answer: Answer) -> str:
    return answer.condition + (f" +{len(answer.like)}" if answer.like else "")


def _marked(size: int, limit_gb: float) -> str:
    return gigabytes(size) + ("*" if size > limit_gb * 1e9 else "")
