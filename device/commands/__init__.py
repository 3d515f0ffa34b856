"""One module for each subcommand of the stillpi command line."""
