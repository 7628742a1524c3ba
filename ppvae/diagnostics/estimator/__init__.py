"""Which estimator of the gradient to climb by?"""
