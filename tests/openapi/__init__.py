"""What other programs make of the OpenAPI document; they need the tools of `make test-openapi`."""
