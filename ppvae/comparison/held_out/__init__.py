"""Fitted runs side by side, on the same held-out rows.

One step a file: which runs may be compared (`likeness`), which are seeds of one setting
(`grouping`), the figures of each (`measuring`), differences with their errors (`statistics`), what
these say (`sentence`, `table`, `figure`, `page`), and all of it together (`comparing`).
"""
