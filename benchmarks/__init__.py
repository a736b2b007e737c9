"""Benchmarks that anyone can run: `make benchmark`, or `python -m benchmarks SUITE ...`; see benchmarks/README.md."""
