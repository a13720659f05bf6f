"""An MLP learns a rotation-invariant field, while a loss pulls a layer's activations together under random rotations.

L = mean (f̂(x) − f(x))² + λ(t)·½E‖φ(R₁x) − φ(R₂x)‖², φ: the activations of one chosen layer, R₁, R₂ uniform on SO(3).

settings   what a training is: Settings, Seeds, Member      rotations  uniform rotations
data       the field, the points, the batches               losses     orbit variance, λ(t)
network    a population of MLPs, stacked                    training   THE LOOP
measure    what is measured at the end                      results    rows in a CSV file that outlive a kill
tables, figures  across λ, layers and seeds                 train, benchmark, analyze, compare: the commands
"""
