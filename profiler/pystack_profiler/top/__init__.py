"""What `pystack top` shows: a process now, as plain data (`model`), and two ways to draw it.

`SliceLog` receives the batches of a running recording. `LiveView` makes a `Frame` of them, which `lines`
turns into lines of text. `text_frames` prints these lines, and `screen` (which needs Textual) shows them.
"""
