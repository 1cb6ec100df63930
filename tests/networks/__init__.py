"""A gateway with its runtime and clients of it, whole, on a simulated network in virtual time.

* ``service``  lives of a server on rows that outlive it, and what must hold of what clients have
* ``devices``  what people do with a client, and what they hold in the end
* ``weather``  what happens to networks, processes and tasks meanwhile, drawn with a seed's dice
* ``visits``   one tale and those who read it, for what is done at each await and each step
"""
