"""Comparison of fitted runs on the same held-out rows.

One step per file: which runs may be compared (`likeness`), which are seeds of one setting
(`grouping`), the figures of each (`measuring`), differences with their errors (`statistics`), their
presentation (`sentence`, `table`, `figure`, `page`), and all steps together (`comparing`).
"""
