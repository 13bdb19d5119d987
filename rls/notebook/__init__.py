"""How results look in a notebook, and the `%%rls` magic. Nothing here is imported before a notebook asks for it."""
