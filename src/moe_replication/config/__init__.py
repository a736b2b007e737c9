"""YAML configuration, checked strictly and turned into frozen dataclasses."""

from moe_replication.config.project import Project, Run, load_project
from moe_replication.config.run import RunConfig

__all__ = ["Project", "Run", "RunConfig", "load_project"]
