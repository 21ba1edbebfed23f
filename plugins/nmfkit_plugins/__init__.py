"""The parts that come with nmfkit, one folder a family, reached only through their entry points."""
