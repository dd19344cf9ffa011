"""The command `promptops follow`: what is live, as files that a streaming server reads.

`layouts` decides which file has which text, `files` writes them, `reloading` makes the server read them, `mirroring`
joins the three with the follower, and `command` is the command line. docs/servers.md explains all of it to operators.
"""
