"""The technician's page: look at the box and its cameras with a phone, from the box itself.

Off unless there is a table [web] in the configuration. What it is made of (the extra `web`) is imported by
`agent.web.server` and what that imports; `password`, `lockout`, `session` and `diary` need nothing from outside.
"""
