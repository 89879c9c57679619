"""Tables 2, 4 and 5: rows are computed first, then laid out in the paper's shape, then rendered."""
