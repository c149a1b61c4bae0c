"""A folder of JPEGs -> parquet: ours beside `clip-retrieval inference`, Daft and the Milvus tutorial's loop."""
