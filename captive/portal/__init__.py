"""What guests meet: redirects, pages, the API for phones."""
