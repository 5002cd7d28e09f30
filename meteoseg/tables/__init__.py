"""Label images -> the tables of a section, and those of the sections of one meteorite joined."""
