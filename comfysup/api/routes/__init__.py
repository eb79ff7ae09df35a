"""What each route does: a module for each kind of resource, and the table that names them all."""
