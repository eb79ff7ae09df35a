"""The route handlers, one module per kind of resource, and the route table."""
