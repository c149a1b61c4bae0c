"""A brief -> pictures: plan with retrieved references, image backends, ledger, sidecars, gallery."""
