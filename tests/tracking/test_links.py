"""Addresses: encoded as MLflow reads them, without passwords."""

from __future__ import annotations

from moe_replication.tracking.links import base_address, comparison, shown_uri


def test_the_compare_page_names_runs_and_their_experiment():
    assert comparison("3", ["ab", "cd"]) == "/#/compare-runs?runs=%5B%22ab%22,%22cd%22%5D&experiments=%5B%223%22%5D"


def test_one_run_has_nothing_to_be_compared_with():
    assert comparison("3", ["ab"]) == "/#/experiments/3/runs/ab"


def test_addresses_carry_no_password():
    assert base_address("https://me:secret@runs.example.org/") == "https://runs.example.org"
    assert shown_uri("postgresql://me:secret@host:5432/mlflow") == "postgresql://host:5432/mlflow"
    assert base_address("postgresql://me:secret@host:5432/mlflow") == "http://127.0.0.1:5000"
    assert shown_uri("sqlite:///results/demo/mlflow.db") == "sqlite:///results/demo/mlflow.db"
