"""Two ReLUs summed on XOR: which starts fail, when and how, and what mends them. `python -m lop.lab.xor_pair`.

network     the four points, y = φ(w₁·x + b₁) + φ(w₂·x + b₂), its loss and gradient
starts      the first weights: drawn, redrawn, mirrored, bounded
mending     a monitor that revives dead points and fetches lost hyperplanes while training
training    a population of runs side by side, each as if alone
strategies  what is compared
measures    what is said about each run
"""
