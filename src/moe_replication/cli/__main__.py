"""python -m moe_replication.cli, as the launcher and torchrun start a rank."""

from moe_replication.cli import main

main()
