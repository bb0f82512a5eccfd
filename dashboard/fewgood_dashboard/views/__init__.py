"""One page of the dashboard per file; each has a `render(source)`."""
