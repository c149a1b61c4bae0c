"""A hundred campaign pictures from a Gemini server on this machine: as a Dagster run, and as loops around the SDK."""
