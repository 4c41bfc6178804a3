"""The page for people: a process of its own over the API, with the rights of whoever signs in and no others."""
