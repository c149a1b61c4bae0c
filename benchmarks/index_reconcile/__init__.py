"""A live collection that has drifted 1% from the library: mended in place, or built anew."""
