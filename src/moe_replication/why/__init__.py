"""What of a scale is up to date, stale, missing or interrupted, why, and what making it again would cost."""
