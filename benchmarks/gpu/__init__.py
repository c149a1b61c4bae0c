"""On a CUDA device: the model alone against the best compiled run of its tower, and end to end against its parts."""
