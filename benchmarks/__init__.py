"""Side-by-side measurements: both sides in one run, taking turns; every repeat kept. One folder a workload."""
