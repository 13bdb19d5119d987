"""What policies say of rows, down to their leaves, as SQL has it: TRUE, FALSE, NULL."""
