"""JPEG bytes -> model input [3, 224, 224] on one core: ours in both tiers beside open_clip's own transform."""
