"""Pixels -> vectors: which model, its fingerprint, the embedding engine, the parquet store."""
