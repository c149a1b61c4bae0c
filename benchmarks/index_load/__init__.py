"""Embeddings in parquet -> a collection that finds them."""
