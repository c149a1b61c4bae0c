"""Does search find what people ask for: golden queries and what is measured with them."""
