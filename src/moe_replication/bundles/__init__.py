"""Result bundles: the finished runs of a scale in one file, without weights and data."""
