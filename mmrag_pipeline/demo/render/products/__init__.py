"""Shapes of the products. Each module builds lists of `Part`; none of them knows a colour or a light."""
