"""Tables 1 to 5 and that of the representations.

Rows are computed first, then laid out in the paper's shape, then rendered.
"""
