"""How requests are served: connections, admission, parsing, limits and errors."""
