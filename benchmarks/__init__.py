"""Side-by-side measurements: both sides in one run, medians of several, ratios. One folder a workload."""
