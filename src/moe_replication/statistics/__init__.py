"""From run records to tables, tests and verdicts; needs neither torch nor DeepSpeed."""
