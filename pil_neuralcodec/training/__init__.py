"""Training of released models: data, losses, loops, export. Needs the ``train`` extra; the codec never imports it."""
