"""python -m moe_replication.cli, as torchrun starts it."""

from moe_replication.cli import main

main()
