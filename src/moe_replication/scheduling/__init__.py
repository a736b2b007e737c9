"""How jobs share a machine's GPUs, what they ask a cluster for, and how a stopped one queues again; no torch."""
