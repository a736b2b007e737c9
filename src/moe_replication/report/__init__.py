"""Pages of the report: scorecard, results by paper, discrepancies, environment and cost, checklist."""
