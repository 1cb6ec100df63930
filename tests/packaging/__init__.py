"""What is shipped.

* ``test_wheels``  wheel and sdist are built, installed and used beside modules of the rooms' names
"""
