"""Peak memory of a run above the loaded model, for a small drop and for one ten times as large."""
