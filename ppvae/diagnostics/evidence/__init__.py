"""What is log p(x)?"""
