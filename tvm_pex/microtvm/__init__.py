"""What leaves the compiler: the archive with C sources, headers and metadata."""
