"""Two bounds on one program, measured, put into words and kept.

One step a file: the program they are compared on (`subject`), how far each climbs (`climbs`), how
its estimates scatter (`estimates`), the figures of both (`statistics`), and what these say
(`sentence`, `table`, `folder`).
"""
