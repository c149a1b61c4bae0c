"""From a clone in an empty folder to the first answer."""
