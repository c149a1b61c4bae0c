"""The two families of partitions. Both grow while the pipeline runs, so both are dynamic."""

import dagster as dg

# One delivery of media, `<product_line>__<drop>`; the drop sensor adds keys. Never one picture or one SKU:
# Dagster is comfortable with 10^4 partitions, a library has 10^7 pictures.
media_drops = dg.DynamicPartitionsDefinition(name="media_drops")

# One due run of one brief, `<campaign>__<YYYY-MM-DD>`; the brief's schedule adds keys.
campaign_occurrences = dg.DynamicPartitionsDefinition(name="campaign_occurrences")
