"""The data of the pages of `site`."""
