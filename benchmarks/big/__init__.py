"""A database as large as years make it, filled in minutes, and how long every page of it takes.

`filling` fills the database (`releases`, `runs`, `trail` and `others` make its rows, `bulk` inserts them), `pages` names
each page and each filter, and `measuring` asks for them.
"""
