"""`make e2e`: the three ways of use and the faults, played on a live Dagster and a real Milvus server."""
