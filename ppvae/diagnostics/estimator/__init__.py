"""Which gradient estimator is best?"""
