"""HTTP: the routes of port 8001 and of the unix socket, who may call them, and what they answer.

`routes.table` is the table that everything else follows. What this package needs of ComfyUI and of
Linux stands in `services` and is given to it.
"""
