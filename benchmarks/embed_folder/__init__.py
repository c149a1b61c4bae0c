"""A folder of JPEGs -> parquet: ours beside `clip-retrieval inference` and the Milvus tutorial's loop."""
