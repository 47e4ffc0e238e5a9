"""Markov chain Monte Carlo: Hamiltonian transitions and the adaptation of their step size."""
