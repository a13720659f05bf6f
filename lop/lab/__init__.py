"""Four small studies in which the geometry of dying units can be seen whole: `python -m lop.lab.<study>`.

playground   one neuron learning another, in the browser
xor_pair     two ReLUs on XOR: starts that fail, and what mends them
xor_formula  the formula that a network writes for XOR, and why no line can
symmetry     a rotation-invariant field, and what a symmetry loss does to the units
"""
