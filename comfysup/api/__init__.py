"""The HTTP API on port 8001 and on the unix socket: routes, access control and responses.

`routes.table` defines every route. `services` holds the interfaces to ComfyUI and Linux that this
package receives.
"""
