"""XOR as a formula, in four stages: `python -m lop.lab.xor_formula`.

network, formula   a network with one hidden layer, and its text
train, linear      gradient descent on both, and the closed form
reading            the lines of the hidden units: sides, names, distances
lesson             prints, checks, and keeps the report
figures            a picture for each stage
networks_shown     what stages 1 and 3 share
stage_tanh, stage_line, stage_fold, stage_product   what is taught, in this order
recorded           weights in a file
"""
