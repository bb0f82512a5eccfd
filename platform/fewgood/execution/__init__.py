"""Where stages run: the only folder that imports Ray."""
