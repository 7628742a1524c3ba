"""Did the fit end too early, or overfit?"""
