"""What Dagster costs: the same drops ingested through it, and by the same functions without it."""
