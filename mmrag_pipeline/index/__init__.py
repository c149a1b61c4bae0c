"""Vectors -> a collection: the Milvus adapter, schema, sync of a drop, staged rebuild, search."""
