"""mmrag_pipeline: brand media in, a searchable Milvus collection and campaign pictures out."""
