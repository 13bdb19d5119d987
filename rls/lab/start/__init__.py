"""From a database to a first policy directory: look at its catalog, decide what can be decided, write the files."""
