"""Photos and videos -> a data set in the released layout, as an Apache Beam pipeline."""
