"""A question, and the ten best items with what is known of them."""
