"""Tables of the chondrules of a section: their minerals, compositions, types and rims, counts, sizes."""
